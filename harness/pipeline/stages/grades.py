"""The stages that measure quality: grades, likelihoods, verdicts. Each function returns a node."""

from collections.abc import Sequence

from draftmark import registry
from draftmark.config.sections import Judge
from draftmark.data.conversations import with_context
from draftmark.errors import UserError
from draftmark.grading.scores import grade_answers, response_outcomes
from draftmark.pipeline.setting import Setting
from draftmark.pipeline.stages.texts import conversation_inputs, gold_texts_node, responses_node
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


def grades_node(setting: Setting, texts: Node) -> Node:
    """Return the node of the grades of responses, or of each arm's decodes."""

    def build(job: Job) -> None:
        read = setting.answer_reader(job.inputs["target"], setting.rows["test"].examples)
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
    return Node(
        "grades",
        label,
        settings,
        inputs,
        code,
        build,
        task=setting.task.name,
        action=f"grade {texts.object}",
    )


def likelihoods_node(setting: Setting, model: Node | None = None) -> Node:
    """Return the node of a model's log-likelihoods of the gold answers; by default the target's."""

    def build(job: Job) -> None:
        from draftmark.models.language_model import load_model
        from draftmark.models.likelihoods import log_likelihoods

        texts = read_texts(job.inputs["texts"] / TEXTS)
        placement = setting.placement_of(model or setting.target)
        loaded = load_model(job.inputs["model"], placement)
        rows = {}
        with job.progress.step("reading", len(texts)) as step:
            for text, nats in log_likelihoods(loaded, texts):
                counts = {"nats": nats, "num_tokens": len(text.response_ids)}
                rows[text.example_id] = {"example_id": text.example_id, **counts}
                step.advance()
        write_rows(job.out / LIKELIHOODS, [rows[text.example_id] for text in texts])

    inputs = {"model": model or setting.target, "texts": gold_texts_node(setting, "test")}
    label = f"likelihood of the gold answers by {model.label if model else 'the target'}"
    code = ("draftmark.models.likelihoods", "draftmark.store.records")
    action = f"score gold answers by {model.object if model else 'the target'}"
    task = setting.task.name
    return Node("likelihoods", label, {}, inputs, code, build, task=task, action=action)


def verdicts_node(setting: Setting, judge: Judge, draft: Node) -> Node:
    """Return the node of a judge's verdicts on the draft's own responses, in both orders.

    Its cache key has the endpoint's host, but no credential. Raises UserError if the judge compares
    with gold answers and a row has none.
    """
    rows = setting.rows["test"].first(judge.prompts)
    _check_references(setting, judge, rows.examples)

    def build(job: Job) -> None:
        from draftmark.grading.chat import ChatModel, ask_all
        from draftmark.grading.http_client import HttpClient, read_key
        from draftmark.grading.judging import build_questions

        drafts, others = (
            _responses(setting, job, name, rows.examples) for name in ("draft", "against")
        )
        client = HttpClient(judge.endpoint, read_key(judge.key_variable, "judge"))
        chat = ChatModel(client, judge.model, judge.options)
        examples = _in_context(setting, job, rows.examples)
        asked = build_questions(examples, drafts, others)
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
        **conversation_inputs(setting, "test", GREEDY),
    }
    settings = {
        "host": judge.host,
        "model": judge.model,
        "options": dict(judge.options),
        "rows": rows.digest,
    }
    label = f"verdicts of {judge.model} on {draft.label} against the {judge.against}"
    code = ("draftmark.grading.judging", "draftmark.grading.thinking", "draftmark.data.prompts")
    task, action = setting.task.name, f"judge {draft.object}"
    return Node("verdicts", label, settings, inputs, code, build, task=task, action=action)


def _check_references(setting: Setting, judge: Judge, examples: Sequence[Example]) -> None:
    if judge.against == "reference" and not all(example.reference for example in examples):
        raise UserError(
            f"evaluation.judge.against = 'reference', but {setting.task.name} has rows without a "
            "gold answer; use 'target'."
        )


def _in_context(setting: Setting, job: Job, examples: Sequence[Example]) -> Sequence[Example]:
    """Return the examples with the turns before them, if they have any."""
    if "conversation" not in job.inputs:
        return examples
    return with_context(examples, _responses(setting, job, "conversation", examples))


def _responses(
    setting: Setting, job: Job, name: str, examples: Sequence[Example]
) -> dict[str, str]:
    """Return the responses of an input to some examples, decoded, by example id."""
    read = setting.answer_reader(job.inputs["target"], examples)
    known = {example.id for example in examples}
    return {
        text.example_id: read(text.example_id, text.response_ids)
        for text in read_texts(job.inputs[name] / TEXTS)
        if text.example_id in known
    }
