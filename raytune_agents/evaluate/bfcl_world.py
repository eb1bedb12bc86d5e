"""Inside the sandbox: BFCL's executable classes, from the installed bfcl-eval package.

Loaded by `sandbox.child` in a process of its own, so it imports nothing of ours. `turn_verdict`
makes new instances and runs the whole conversation again. The rules are those of bfcl-eval
2026.3.23 (multi_turn_utils.py, multi_turn_checker.py).
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the sandboxed process has no package of ours
    from raytune_agents.records import Arguments, JsonObject

REFUSED = ("kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run")
Turns = list[list[list[Any]]]  # turn -> step -> call: [name, arguments]


class Instances:
    """The classes of one entry in their first state."""

    def __init__(self, entry: JsonObject):
        from bfcl_eval.constants import executable_backend_config as classes

        long_context = "long_context" in entry["id"] or "composite" in entry["id"]
        self.all: dict[str, Any] = {}
        self.methods: dict[str, Any] = {}
        for name in entry["involved_classes"]:
            module = importlib.import_module(classes.CLASS_FILE_PATH_MAPPING[name])
            made = getattr(module, name)()
            if name not in classes.STATELESS_CLASSES:
                config = copy.deepcopy(entry["initial_config"].get(name, {}))
                made._load_scenario(config, long_context=long_context)
            self.all[name] = made
            for method, bound in inspect.getmembers(made, predicate=inspect.ismethod):
                if not method.startswith("_"):
                    self.methods[method] = bound

    def call(self, name: str, arguments: Arguments) -> str:
        """A model's call -> its observation."""
        return self.observation(name, lambda: self.methods[name](**arguments))

    def gold(self, text: str) -> str:
        """A call as BFCL writes it, for example "mv(source='a', destination='b')"."""
        scope = {"__builtins__": {}} | self.methods  # the text is the package's own
        return self.observation(text.partition("(")[0], lambda: eval(text, scope))

    def observation(self, name: str, work: Any) -> str:
        if name in REFUSED:
            return f"Error during execution: Function call {name} is not allowed."
        if name not in self.methods:
            return f"Error during execution: name '{name}' is not defined"
        try:
            value = work()
        except Exception as error:  # a model may call with anything
            return f"Error during execution: {error}"
        with suppress(TypeError, ValueError):
            if isinstance(value, dict):
                return json.dumps(value)
        return str(value)

    def state(self) -> dict[str, dict[str, Any]]:
        return {
            name: {k: v for k, v in vars(made).items() if not k.startswith("_")}
            for name, made in self.all.items()
        }


class BfclWorld:
    """One entry as a world: its task is the entry, its state the instances of its classes."""

    def reset(self, task: JsonObject) -> Instances:
        self.task, self.instances = task, Instances(task)
        return self.instances

    def call(self, name: str, arguments: Arguments) -> str:
        return self.instances.call(name, arguments)

    def goal(self, instances: Instances) -> bool:
        """Whether the state is that after gold's last turn; `turn_verdict` looks at each turn."""
        gold = Instances(self.task)
        for turn in self.task["ground_truth"]:
            for text in turn:
                gold.gold(text)
        return instances.state() == gold.state()


def turn_verdict(entry: JsonObject, turns: Turns) -> list[Any]:
    """[error, turns that were right before it]; ["", all] where every turn is right.

    After each turn with gold calls: the public state of every class is gold's, and gold's results
    of the turn are among all results so far. Calls where gold has none are not refused by
    themselves; what they change shows in the state at the next turn.
    """
    mine, gold, seen = Instances(entry), Instances(entry), []
    if len(turns) != len(entry["ground_truth"]):
        return ["force_terminated", 0]
    for number, (turn, wanted) in enumerate(zip(turns, entry["ground_truth"])):
        for step in turn:
            seen += [mine.call(name, arguments) for name, arguments in step]
        expected = [gold.gold(text) for text in wanted]
        if not wanted:
            continue
        # Before the states: they are equal where gold's calls change nothing.
        if not any(turn):
            return ["empty_turn_model_response", number]
        if mine.state() != gold.state():
            return ["instance_state_mismatch", number]
        # Over all turns so far: a result may have come earlier than gold asks for it.
        left = list(seen)
        for text in expected:
            if text not in left:
                return ["execution_response_mismatch", number]
            # Once each: two equal results of gold need two of the model.
            left.remove(text)
    return ["", len(turns)]
