"""The stages that measure quality: grades, likelihoods, verdicts. Each function returns a node."""

from collections.abc import Callable, Sequence

from draftmark import registry
from draftmark.config.sections import Judge
from draftmark.grading.scores import grade_answers, response_outcomes
from draftmark.grading.thinking import decode_answer, opens_thinking
from draftmark.pipeline.setting import Setting
from draftmark.pipeline.stages.texts import gold_texts_node, responses_node
from draftmark.store.graph import Job, Node
from draftmark.store.records import (
    GRADES,
    LIKELIHOODS,
    TEXTS,
    VERDICTS,
    read_answers,
    read_texts,
    write_rows,
)
from draftmark.types import GREEDY, Example

_LONGEST_MARK = 32  # tokens that a mark of thinking takes at most, with the space after it


def grades_node(setting: Setting, texts: Node) -> Node:
    """Return the node of the grades of responses, or of each arm's decodes."""

    def build(job: Job) -> None:
        read = _answers(setting, job, setting.rows["test"].examples)
        examples = {example.id: example for example in setting.rows["test"].examples}
        rows = [
            {
                "arm": answer.arm,
                "example_id": answer.example_id,
                "num_tokens": len(answer.token_ids),
                "text": (text := read(answer.example_id, answer.token_ids)),
                **response_outcomes(text, answer.finish_reason),
            }
            for answer in read_answers(job.inputs["texts"])
        ]
        answers = [(examples[row["example_id"]], row["text"]) for row in rows]
        scores = grade_answers(setting.task, answers, setting.sandbox)
        graded = [{**row, **score} for row, score in zip(rows, scores, strict=True)]
        write_rows(job.out / GRADES, graded)

    inputs = {"target": setting.target, "texts": texts}
    settings = {
        "version": setting.task.version,
        "rows": setting.rows["test"].digest,
        "stop": setting.stop,
    }
    if setting.task.grade_programs and setting.sandbox.exposes:
        settings["unsafe"] = True  # a safe run never reads such grades
    label = f"quality of {texts.label}"
    task = registry.module_name("tasks", setting.task.name)
    grading = ("draftmark.grading.scores", "draftmark.grading.thinking", "draftmark.data.prompts")
    code = (task, *grading, "draftmark.store.records")
    return Node("grades", label, settings, inputs, code, build, task=setting.task.name)


def _answers(
    setting: Setting, job: Job, examples: Sequence[Example]
) -> Callable[[str, Sequence[int]], str]:
    """Return what decodes an example's response: the text after thinking, up to a stop string."""
    tokenizer = setting.tokenizer(job.inputs["target"])
    stop = setting.stop_strings(job.inputs["target"])
    prompts = setting.prompts(job.inputs["target"], examples)
    opened = {
        prompt.example_id
        for prompt in prompts
        if opens_thinking(tokenizer.decode(prompt.token_ids[-_LONGEST_MARK:]))
    }

    def read(example_id: str, token_ids: Sequence[int]) -> str:
        text = decode_answer(tokenizer.decode, token_ids, opened=example_id in opened)
        return stop.cut(text) if stop else text

    return read


def likelihoods_node(setting: Setting, model: Node | None = None) -> Node:
    """Return the node of a model's log-likelihoods of the gold answers; by default the target's."""

    def build(job: Job) -> None:
        from draftmark.models.hidden_states import log_likelihoods
        from draftmark.models.language_model import load_model

        texts = read_texts(job.inputs["texts"] / TEXTS)
        loaded = load_model(job.inputs["model"], setting.placement())
        rows = {}
        with job.progress.step("reading", len(texts)) as step:
            for text, nats in log_likelihoods(loaded, texts):
                counts = {"nats": nats, "num_tokens": len(text.response_ids)}
                rows[text.example_id] = {"example_id": text.example_id, **counts}
                step.advance()
        write_rows(job.out / LIKELIHOODS, [rows[text.example_id] for text in texts])

    inputs = {"model": model or setting.target, "texts": gold_texts_node(setting, "test")}
    label = f"likelihood of the gold answers by {model.label if model else 'the target'}"
    code = ("draftmark.models.hidden_states", "draftmark.store.records")
    return Node("likelihoods", label, {}, inputs, code, build, task=setting.task.name)


def verdicts_node(setting: Setting, judge: Judge, draft: Node) -> Node:
    """Return the node of a judge's verdicts on the draft's own responses, in both orders.

    Its cache key has the endpoint's host, but no credential.
    """
    rows = setting.rows["test"].first(judge.prompts)

    def build(job: Job) -> None:
        from draftmark.grading.chat import ChatModel, ask_all
        from draftmark.grading.http_client import HttpClient, read_key
        from draftmark.grading.judging import build_questions

        drafts, others = (
            _responses(setting, job, name, rows.examples) for name in ("draft", "against")
        )
        client = HttpClient(judge.endpoint, read_key(judge.key_variable, "judge"))
        chat = ChatModel(client, judge.model, judge.options)
        asked = build_questions(rows.examples, drafts, others)
        with job.progress.step("judging", len(asked)) as step:
            replies = ask_all(chat.ask, asked, job.scratch / "replies.jsonl", step)
        write_rows(
            job.out / VERDICTS,
            [
                {"example_id": name, "draft_first": draft_first, "reply": reply}
                for (name, draft_first), reply in replies.items()
            ],
        )

    inputs = {
        "target": setting.target,
        "draft": responses_node(setting, "test", GREEDY, draft),
        "against": gold_texts_node(setting, "test")
        if judge.against == "reference"
        else responses_node(setting, "test", GREEDY),
    }
    settings = {
        "host": judge.host,
        "model": judge.model,
        "options": dict(judge.options),
        "rows": rows.digest,
    }
    label = f"verdicts of {judge.model} on {draft.label} against the {judge.against}"
    code = ("draftmark.grading.judging", "draftmark.grading.thinking", "draftmark.data.prompts")
    return Node("verdicts", label, settings, inputs, code, build, task=setting.task.name)


def _responses(
    setting: Setting, job: Job, name: str, examples: Sequence[Example]
) -> dict[str, str]:
    """Return the responses of an input to some examples, decoded, by example id."""
    read, known = _answers(setting, job, examples), {example.id for example in examples}
    return {
        text.example_id: read(text.example_id, text.response_ids)
        for text in read_texts(job.inputs[name] / TEXTS)
        if text.example_id in known
    }
