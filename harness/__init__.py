"""The library of draftmark: it knows no particular task, method or report."""
