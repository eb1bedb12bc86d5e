"""The operations room: hosts with open ports, firewall rules, accounts, files and keys."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents.script import Say, Script, ToolError, act, listed, sample_request
from raytune_agents.agents.word_banks import BANKS, fill
from raytune_agents.agents.worlds.seeded import SeededWorld, State, by_name

PORTS = (21, 22, 23, 80, 443, 3306, 3389, 5432, 6379, 8080)
WEAK = {21: "plain FTP", 23: "telnet", 3389: "old RDP", 6379: "open Redis"}
ROLES = ("viewer", "editor", "admin")


def make(rng: random.Random) -> State:
    """Three hosts, five accounts of which one is locked at least, three files, two keys."""
    hosts = {}
    for host in rng.sample(BANKS["host"], 3):
        ports = sorted(rng.sample(PORTS, 4))
        hosts[f"{host}.example.net"] = {"ports": ports, "malware": rng.random() < 0.3}
    users = {
        f"{a}.{b}": {"locked": i == 0 or rng.random() < 0.3, "role": rng.choice(ROLES[:2])}
        for i, (a, b) in enumerate(zip(rng.sample(BANKS["first"], 5), rng.sample(BANKS["last"], 5)))
    }
    files = {f"{t}_{rng.randint(2019, 2025)}.zip": None for t in rng.sample(BANKS["table"], 3)}
    old, new = (f"key-{n}" for n in rng.sample(range(1000, 9999), 2))
    return {
        "hosts": hosts,
        "users": users,
        "files": files,
        "rules": [],
        "keys": {old: f"expired; use {new}", new: "valid"},
    }


def scanner(state: State, target: str, scan_type: str, timeout_minutes: int = 30) -> Any:
    """Open ports, weak services or malware of a host."""
    host = state["hosts"].get(target)
    if host is None:
        raise ToolError(f"cannot resolve {target}")
    if scan_type == "port":
        return {"open_ports": host["ports"]}
    if scan_type == "malware":
        return {"infected": host["malware"]}
    return {"weak": [{"port": p, "finding": WEAK[p]} for p in host["ports"] if p in WEAK]}


def firewall(state: State, action: str, ip: str, port: int, protocol: str = "tcp") -> Any:
    """Add a rule; the same rule twice is refused."""
    rule = [action, ip, port, protocol]
    if rule in state["rules"]:
        raise ToolError("this rule exists already")
    state["rules"].append(rule)
    return {"rule_id": f"R-{len(state['rules'])}"}


def auth_system(
    state: State, action: str, user: str, role: str | None = None, notify: bool = False
) -> Any:
    """Lock, unlock, reset or promote; a locked account takes no other change."""
    account = state["users"].get(user)
    if account is None:
        raise ToolError(f"no user {user}")
    if action == "unlock":
        account["locked"] = False
        return {"user": user, "locked": False}
    if account["locked"]:
        raise ToolError(f"{user} is locked; unlock the account first")
    if action == "lock":
        account["locked"] = True
        return {"user": user, "locked": True}
    if action == "reset":
        return {"user": user, "reset": True}
    if role is None:
        raise ToolError("role is missing")
    account["role"] = role
    return {"user": user, "role": role}


def encryption_lib(
    state: State, action: str, file: str, algorithm: str, key_id: str | None = None
) -> Any:
    """Encrypt or decrypt; an expired key is refused and its successor named."""
    if file not in state["files"]:
        raise ToolError(f"no file {file}")
    if key_id is not None and state["keys"].get(key_id) != "valid":
        raise ToolError(f"{key_id} is {state['keys'].get(key_id, 'unknown')}")
    if (action == "encrypt") == (state["files"][file] is not None):
        raise ToolError(f"{file} is {'already' if action == 'encrypt' else 'not'} encrypted")
    state["files"][file] = algorithm if action == "encrypt" else None
    return {"file": f"{file}.enc" if action == "encrypt" else file, "algorithm": algorithm}


# --- goals ----------------------------------------------------------------------------------------


def block_weak_ports(state: State, rng: random.Random) -> Script:
    """Scan a host and block an address on every weak port."""
    target, ip = rng.choice(sorted(state["hosts"])), fill("10.{byte}.{byte}.{byte}", rng)
    yield sample_request(rng, "block_weak_ports", target=target, ip=ip)
    found = yield act("I scan the host first.", "scanner", target=target, scan_type="vulnerability")
    ports, rules = [str(w["port"]) for w in found["weak"]], []
    for weak in found["weak"]:
        thought = f"Port {weak['port']} runs {weak['finding']}; I block {ip} there."
        made = yield act(thought, "firewall", action="block", ip=ip, port=weak["port"])
        rules.append(made["rule_id"])
    answer = f"Weak ports of {target}: {listed(ports)}. Rules added: {listed(rules)}."
    yield Say(answer, (*ports, *rules))


def promote_user(state: State, rng: random.Random) -> Script:
    """A locked account has to be unlocked before its role can change."""
    user, role = rng.choice(sorted(state["users"])), rng.choice(ROLES)
    yield sample_request(rng, "promote_user", user=user, role=role)
    promotion = {"action": "promote", "user": user, "role": role}
    result = yield act(f"I try to promote {user}.", "auth_system", **promotion)
    if "error" in result:
        thought = "The account is locked, so I unlock it."
        yield act(thought, "auth_system", action="unlock", user=user)
        result = yield act("Now the promotion can go through.", "auth_system", **promotion)
    yield Say(f"{user} is now {result['role']}.", (user, role))


def encrypt_with_key(state: State, rng: random.Random) -> Script:
    """The key may have expired; the error names the new one."""
    file, key = rng.choice(sorted(state["files"])), rng.choice(sorted(state["keys"]))
    how = {"file": file, "algorithm": rng.choice(["AES-256", "ChaCha20", "RSA-4096"])}
    yield sample_request(rng, "encrypt_with_key", **how, key=key)
    result = yield act(f"I try {key}.", "encryption_lib", action="encrypt", **how, key_id=key)
    if "error" in result:
        key = result["error"].rsplit(" ", 1)[1]
        thought = f"That key has expired; I use {key}."
        result = yield act(thought, "encryption_lib", action="encrypt", **how, key_id=key)
    yield Say(f"{result['file']} is encrypted with {key}.", (result["file"], key))


def port_or_lock(state: State, rng: random.Random) -> Script:
    """Lock an account only if the host is infected; else report its ports."""
    target = rng.choice(sorted(state["hosts"]))
    user = rng.choice(sorted(u for u, a in state["users"].items() if not a["locked"]) or ["root"])
    yield sample_request(rng, "port_or_lock", target=target, user=user)
    thought = "The malware scan decides what to do."
    found = yield act(thought, "scanner", target=target, scan_type="malware")
    if found["infected"]:
        thought = f"{target} is infected, so I lock {user}."
        yield act(thought, "auth_system", action="lock", user=user)
        yield Say(f"{target} is infected; {user} is locked.", (target, user))
        return
    thought = f"{target} is clean, so I list its ports."
    ports = yield act(thought, "scanner", target=target, scan_type="port")
    numbers = [str(p) for p in ports["open_ports"]]
    yield Say(f"{target} is clean; open ports are {listed(numbers)}.", tuple(numbers))


class SecurityWorld(SeededWorld):
    agent, make = "security", make
    tools = by_name(scanner, firewall, auth_system, encryption_lib)
    goals = by_name(block_weak_ports, promote_user, encrypt_with_key, port_or_lock)
