"""Drafts of the tiny target in folders, as users of `draftmark score` have them."""

import json
from pathlib import Path

from draftmark.config.model_sections import DraftInit
from draftmark.models.draft_inits import make_draft
from draftmark.models.files import own_models
from draftmark.models.heads.feature_head import HeadShape, make_head
from draftmark.models.heads.head_exports import Layout, export_head
from draftmark.models.language_model import LanguageModel, load_tokenizer, save_model

TARGET = "tiny-target"
QUESTIONS = ["Name a color.", "What is 2 + 3?", "Tom has 3 apples and buys 4. How many has he?"]


def save_draft(target: LanguageModel, folder: Path, layers: tuple[int, ...] = (0, 7)) -> Path:
    """Save layers of the target as a draft, with the target's tokenizer; return the folder."""
    draft = make_draft(DraftInit(pruned=layers), target, seed=0)
    save_model(draft, load_tokenizer(own_models()[TARGET]), folder)
    return folder


def save_head(target: LanguageModel, folder: Path, layout: Layout = "speculators") -> Path:
    """Save a random head of the target in a layout; return the folder."""
    kind = "eagle" if layout == "eagle" else "eagle3"
    layers = (8,) if kind == "eagle" else (2, 4, 5)
    head = make_head(target, HeadShape(kind, layers, target.vocab_size), seed=0)
    export_head(head, layout, folder, target=TARGET, num_speculative_tokens=3)
    return folder


def save_questions(path: Path) -> Path:
    """Write the questions as rows of two categories."""
    rows = [{"prompt": text, "category": str(len(text) > 20)} for text in QUESTIONS]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path
