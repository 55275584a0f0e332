"""SFT: it learns the tokens of its text, and does not pay for the target's head."""

from method_cases import Make, built, trained

from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.training.validation import loss_criterion


def test_unseen_gold_answers_become_likelier(
    context: Make, few: dict[str, StoredHiddenStates]
) -> None:
    measure = loss_criterion(few["validation"].texts).measure
    made = trained(context, built("sft"))
    assert made.model is not None
    assert measure(made.model) < measure(context().draft) - 0.1


def test_it_does_not_pay_for_the_targets_head(context: Make) -> None:
    taught, alone = (trained(context, built(name)).ledger for name in ("kd", "sft"))
    head = context().target.model.get_output_embeddings().weight.numel()
    assert taught.flops - alone.flops == 2 * head * alone.supervised_tokens
    assert taught.supervised_tokens == alone.supervised_tokens
