"""A process with a Ray cluster of two nodes on this machine, for tests.

It prints the cluster's address and kills the second node on reading "kill". At the end of standard
input, so also when its parent is gone, it ends both nodes with all their processes.
"""

import os
import sys
import tempfile

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # do not kill workers on a busy machine
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen to this machine only
}


def main() -> None:
    """Run until the end of standard input."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        node = {
            "num_cpus": 1,
            "memory": 4 * 10**9,
            "include_dashboard": False,
            "temp_dir": folder,
        }
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            second = cluster.add_node(**node)
            print(cluster.address, flush=True)
            for line in sys.stdin:
                if line.strip() == "kill":
                    cluster.remove_node(second, allow_graceful=False)
                    print("killed", flush=True)
        finally:
            cluster.shutdown()


if __name__ == "__main__":
    main()
