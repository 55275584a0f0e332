"""A Ray cluster of two nodes on this machine, for tests: a process that they start and talk to.

It prints the cluster's address, kills the second node when it is told "kill", and ends both with
all their processes when its standard input ends, as it does when whoever started it is gone.
"""

import os
import sys
import tempfile

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # a busy machine is no reason to kill workers
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # nothing but this machine is listened to
}


def main() -> None:
    """Run until standard input ends."""
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
