"""Which rows are asked (`suites`), how (`harness`), what an answer is worth (`scoring`), means and
paired differences with intervals (`scoreboard`), the gate and the verdict (`gate`, `verdict`), and
the files of it all (`result_files`)."""
