"""`ray job submit` to a token-authenticated head: the loop runs, its log comes back."""

from __future__ import annotations

from conftest import submit


def test_the_loop_runs_as_a_job(tiny) -> None:
    folder, printed = tiny
    assert "succeeded" in printed
    assert f"report: {folder}/report.html" in printed
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_failing_job_exits_non_zero_and_says_why(head, tmp_path) -> None:
    done = submit(
        head.env, "--config", "tests/ray/tiny.yaml", f"runs_dir={tmp_path}", "train.lerning_rate=1"
    )
    assert done.returncode != 0
    assert "train.learning_rate" in done.stdout + done.stderr


def test_without_the_token_a_job_is_refused(head, tmp_path) -> None:
    env = {k: v for k, v in head.env.items() if k != "RAY_AUTH_TOKEN"} | {"HOME": str(tmp_path)}
    assert submit(env, "--config", "tests/ray/tiny.yaml").returncode != 0
