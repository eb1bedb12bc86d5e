"""Commands that are longer than a few lines, one a file; `cli` names them."""
