"""Duplicates and leakage: accepted rows that say the same, training rows that show a test row.

Rows are labelled, never dropped: `duplicate_of:ID`, `near_duplicate_of:ID`,
`semantic_duplicate_of:ID`, `contradicts:ID`, `contaminated:SET`. A negative is no duplicate of its
positive twin: it has the same query and another answer. Rejected rows take no part, so a good row
never points to a bad survivor. Duplicates are looked for within a split, leaks across splits. All
rows that name the same survivor are one cluster; the survivor is the one of the best quality.

`text` says what of a row is compared, `minhash` holds the sketches, `step` groups any number of
rows, `leaks` and `windows` compare with evaluation rows, `space` works on embeddings.
"""
