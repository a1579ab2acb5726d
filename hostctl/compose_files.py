"""What must hold in the parts of the documented compose file, so that one service's block is its own (P7).

No YAML is read here: hostctl has no parser for it. A block is judged by its lines, the whole file by compose itself.
"""

from __future__ import annotations

from typing import List, Mapping, Sequence

from hostctl.assemble import Part
from hostctl.forms import ComposeSpec, HostDefinition, ServiceDefinition

LABEL = "blockchain-dao"
STACK, SERVICE, DEFINITION = LABEL + ".stack", LABEL + ".service", LABEL + ".definition"
CONTAINER = LABEL + ".container"
"""The documented name of a service's container (E2), where two of them run while it is updated and one has it."""
TOP = "services:\n"
_IMAGE = "    image: "
_FIXED_NAME = "    container_name"
_PORTS, _ENTRY = "    ports:", "      - "
_SECRETS, _ENDING = "      - ./secrets/", ".compose.env"


def text_of(parts: Sequence[Part], file: str) -> str:
    """The text that these parts put into a file."""
    return "".join(part["text"] for part in parts if part["file"] == file)


def host_problems(definition: HostDefinition) -> List[str]:
    """What is wrong with the host's own parts."""
    spec = definition["compose"]
    if spec is None:
        return ["compose is missing: its file and network"]
    file = spec["file"]
    if file not in definition["files"]:
        return ["files has no %s" % file]
    text = text_of(definition["parts"], file)
    problems: List[str] = []
    if not text.endswith(TOP) or text.count("\n" + TOP) != 1:
        problems.append("its part of %s must end with the line `services:`" % file)
    for key in ("network", "subnet", "gateway"):
        if ": %s\n" % spec[key] not in text:
            problems.append("its part of %s must name the %s %s" % (file, key, spec[key]))
    return problems


def service_problems(definition: ServiceDefinition, spec: ComposeSpec, stack: str) -> List[str]:
    """What is wrong with a service's block."""
    launch = definition["launch"]
    if not launch["image"] or launch["argv"]:
        return ["launch must name an image, and no argv"]
    file, name = spec["file"], definition["name"]
    text = text_of(definition["parts"], file)
    lines = text.split("\n")
    if lines[0] != "  %s:" % name or lines[-1] != "" or any(not _inside(line) for line in lines[1:-1]):
        return ["its part of %s must be one block, `  %s:`, and end with a line feed" % (file, name)]
    wanted = {
        "    image": launch["image"],
        "      " + STACK: stack,
        "      " + SERVICE: name,
        "      " + DEFINITION: definition["digest"],
    }
    problems = ["its block must say %s: %s" % (key.strip(), value) for key, value in wanted.items()
                if not _says(lines, key, value)]  # fmt: skip
    problems += _port_problems(definition, _published(lines))
    problems += _name_problems(definition, lines)
    if definition["proxy"] and "    network_mode: host" not in lines:
        problems.append("its block must say network_mode: host: the edge has ports of the host itself")
    return problems


def has_services(texts: Mapping[str, str], spec: ComposeSpec) -> bool:
    """Whether there is a block at all: compose refuses a file without a service."""
    return not texts.get(spec["file"], "").endswith(TOP)


def block_of(text: str, name: str) -> str:
    """A service's block in the whole file; empty when it has none."""
    lines: List[str] = []
    for line in text.split("\n"):
        if line == "  %s:" % name or (lines and _inside(line)):
            lines.append(line)
        elif lines:
            break
    return "".join(line + "\n" for line in lines)


def image_of(block: str) -> str:
    """The image that a block names; empty when it names none."""
    lines = [line for line in block.split("\n") if line.startswith(_IMAGE)]
    return lines[0][len(_IMAGE) :].strip('"') if lines else ""


def has_documented_name(block: str, name: str) -> bool:
    """Whether a service's container gets exactly its name (E2), which somebody else's may have (D18).

    By compose itself, or by its label: compose would make no second one of a fixed name.
    """
    lines = block.split("\n")
    return any(_says(lines, key, name) for key in (_FIXED_NAME, "      " + CONTAINER))


def secret_owners(block: str) -> List[str]:
    """Whose secret files a block names (`./secrets/mysql.compose.env`)."""
    words = [line[len(_SECRETS) : -len(_ENDING)] for line in block.split("\n") if line.startswith(_SECRETS)]
    return sorted(words)


def _port_problems(definition: ServiceDefinition, published: Sequence[str]) -> List[str]:
    """What is published must be what the definition says: nobody else's port, and none past the edge."""
    wanted = _to_publish(definition)
    problems = ["its block must publish %s" % one for one in wanted if one not in published]
    return problems + ["its block must not publish %s" % one for one in published if one not in wanted]


def _name_problems(definition: ServiceDefinition, lines: Sequence[str]) -> List[str]:
    name, label = definition["name"], "      %s: " % CONTAINER
    problems = ["its block must say %s: %s, or nothing of it" % (CONTAINER, name) for line in lines
                if line.startswith(label) and not _says([line], label[:-2], name)]  # fmt: skip
    if definition["edge"] and any(line.startswith(_FIXED_NAME) for line in lines):
        problems.append("its block must not say container_name: two of it run while it is updated")
    return problems


def _to_publish(definition: ServiceDefinition) -> List[str]:
    edge, bind, ports = definition["edge"], definition["launch"]["bind"], definition["ports"]
    if definition["proxy"]:
        return []
    if edge:
        # Docker gives each of two containers one of the pair.
        return ["%s:%d-%d:%d" % (edge["address"], edge["ports"][0], edge["ports"][1], port) for port in ports]
    return ["%s%d:%d" % ("" if bind == "0.0.0.0" else bind + ":", port, port) for port in ports]  # noqa: S104


def _published(lines: Sequence[str]) -> List[str]:
    found: List[str] = []
    inside = False
    for line in lines:
        inside = line == _PORTS or (inside and line.startswith(_ENTRY))
        if inside and line != _PORTS:
            found.append(line[len(_ENTRY) :].strip('"'))
    return found


def _inside(line: str) -> bool:
    return line.startswith("    ")


def _says(lines: Sequence[str], key: str, value: str) -> bool:
    return any(line in lines for line in ("%s: %s" % (key, value), '%s: "%s"' % (key, value)))
