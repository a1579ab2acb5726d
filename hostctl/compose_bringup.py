"""Bringing services up: the edge, what can change beside what serves by a roll, the rest by one run of compose."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Sequence, Tuple

from hostctl import compose_files, compose_ports
from hostctl.compose_containers import Containers, Seen
from hostctl.compose_outcome import outcome_of
from hostctl.compose_parts import ComposeParts
from hostctl.compose_rolling import Change
from hostctl.console import say
from hostctl.edge import EDGE, is_edge
from hostctl.errors import HostctlError
from hostctl.forms import Behind
from hostctl.layout import read_text
from hostctl.runtime import FAILED, RESTARTED, STARTED, Outcome, Target

_NO_PLACE = (
    "%s: Docker holds port %d for no container, so there is no place for a second one: it is stopped, and started "
    "anew; a restart of Docker gives the port back"
)


class BringUp(ComposeParts):
    """For the holder of the host's lock."""

    def bring_up(self, wanted: Sequence[Target], anew: bool = False) -> Tuple[Dict[str, Outcome], str]:
        """What became of each, and compose's reason when it failed for any of them.

        With `anew`, what could be changed without a loss is made anew in any case.
        """
        self._tidy_leftovers()
        changes, outcomes = self._changes(wanted, anew)
        plain = [target for target in wanted if target.name not in changes and target.name not in outcomes]
        # Ports that other containers publish themselves the edge can have only after these have made way. The rest
        # comes last: a compose that looks at what they depend on must find it changed already.
        first = [target for target in plain if target.name == EDGE or self._joins(target.name)]
        rest = [target for target in plain if target not in first]
        begun, reason = self._by_compose(first)
        outcomes.update(begun)
        trouble = self._lead_edge(outcomes, changes)
        if trouble:
            failed = {name for name, outcome in outcomes.items() if outcome.what == FAILED}
            touched = [one.name for one in wanted if one.name not in failed and self._of_the_edge(one.name)]
            outcomes.update(dict.fromkeys(touched, Outcome(FAILED, trouble)))
        for target in wanted:
            if target.name in changes and target.name not in outcomes:
                rolled = self._roll(changes[target.name])
                outcomes.update({target.name: rolled} if rolled is not None else {})
                rest += [target] if rolled is None else []
        others, later = self._by_compose([target for target in rest if target.name not in outcomes])
        outcomes.update(others)
        for target in wanted:
            self.containers().call(target.name)
        return outcomes, "; ".join(part for part in (reason, later) if part)

    def load_edge(self, always: bool = False) -> str:
        """Has the edge take its file as it is now; "" or what is wrong.

        A worker that begins knows nothing of places that are closed: whatever has not proved itself must be gone.
        """
        if always or not self.edge().loaded():
            self._tidy_leftovers()
        return self.edge().load(always)

    def _tidy_leftovers(self) -> None:
        """Second containers and closed places, of whichever service and verb: no journal tells of a restart's."""
        names = {*self.containers().crowded(), *self.edge().closed()}
        if names:
            self.edge().calm(self._longest_request())
        for name in sorted(names, key=lambda name: (name != EDGE, name)):
            definition = self._store.now(name)
            if definition is None:
                continue
            grace = float(definition["stop"]["grace_seconds"])
            try:
                self._rolling().tidy(name, definition["edge"], grace, _is(definition["digest"]))
            except HostctlError as error:  # nobody else's reason not to go on
                say("warning: what an update has left of %s can't be taken away: %s" % (name, error))

    def let_go(self, unwanted: Sequence[Target]) -> None:
        """The edge stops listening for those that are gone; what it can't load now it loads with the next change."""
        if self.edge().services() & {target.name for target in unwanted}:
            trouble = self.load_edge()
            if trouble:
                say("warning: " + trouble)

    def _joins(self, name: str) -> bool:
        """Whether it is to be behind the edge, and what has its port now, if anything, isn't."""
        behind = self._behind(name)
        if behind is None:
            return False
        now = self.containers().current(name)
        if now is None:
            return self._api.inspect(name) is not None  # somebody else's, which has to make way (D18)
        return bool(now.ports) and not now.ports & set(behind["ports"])

    def _of_the_edge(self, name: str) -> bool:
        """Whether it needs what the edge did not do: take requests for it, or let go of its port."""
        return name == EDGE or self._behind(name) is not None or name in self.edge().services()

    def _longest_request(self) -> float:
        """How long a worker of the edge's may go on after another has taken over, in seconds."""
        definition = self._store.now(EDGE)
        return 0.0 if definition is None else float(definition["stop"]["grace_seconds"])

    def _changes(self, wanted: Sequence[Target], anew: bool) -> Tuple[Dict[str, Change], Dict[str, Outcome]]:
        """Those that are changed beside what serves, and those that can't be."""
        found: Dict[str, Change] = {}
        failed: Dict[str, Outcome] = {}
        for target in wanted:
            try:
                change = self._change(target, anew)
            except HostctlError as error:
                failed[target.name] = Outcome(FAILED, str(error))
            else:
                found.update({target.name: change} if change is not None else {})
        return found, failed

    def _change(self, target: Target, anew: bool) -> Optional[Change]:
        rolling, definition = self._rolling(), self._store.now(target.name)
        if definition is None or not (definition["edge"] or is_edge(definition)):
            return None
        digest = definition["digest"]
        serving = rolling.tidy(target.name, definition["edge"], target.grace_seconds, _is(digest))
        if serving is None:
            return None
        # A silent one is replaced: the new one makes the socket anew, and its ports may be bound twice meanwhile.
        renewed = anew or (is_edge(definition) and self.edge().silent())
        if not (renewed or self._differs(target.name, digest, serving)):
            return None
        if not is_edge(definition) and rolling.could_roll(definition, serving) and self.edge().silent():
            # It may forward all the same: to recreate the service in place would lose requests.
            raise HostctlError("the edge does not answer on its socket, so nothing was changed: `up` replaces it")
        if definition["edge"] is not None and self._lacks_a_place(target.name, definition["edge"]):
            return None
        if is_edge(definition) or rolling.rolls(definition, serving):
            return Change(target.name, definition, target.grace_seconds, serving, target.back)
        return None

    def _lacks_a_place(self, name: str, behind: Behind) -> bool:
        held = compose_ports.held_for_nobody(behind, self._api.containers())
        if held:
            say("warning: " + _NO_PLACE % (name, held[0]))
        return bool(held)

    def _lead_edge(self, outcomes: Dict[str, Outcome], changes: Dict[str, Change]) -> str:
        """The edge itself, and its configuration, before what it forwards to changes; "" or what is wrong."""
        edge, change = self.edge(), changes.pop(EDGE, None)
        if change is not None:
            outcomes[EDGE] = done = self._roll(change) or Outcome(FAILED, "the edge ended meanwhile: try again")
            trouble = done.detail if done.what == FAILED else edge.load()
        elif EDGE in outcomes and outcomes[EDGE].what in (STARTED, RESTARTED):
            trouble = edge.await_started()
        else:
            trouble = edge.load()
        if changes and not trouble:
            edge.calm(self._longest_request())
        return trouble

    def _roll(self, change: Change) -> Optional[Outcome]:
        """None where what served has ended meanwhile: there is nothing to lose any more, it is compose's."""
        image = change.definition["launch"]["image"]
        if self._api.image(image) is None:  # compose would pull it
            return Outcome(FAILED, "its image %s is not on this host" % image)
        try:
            now = self.containers().current(change.name)
            if now is None or now.id != change.serving.id:
                return Outcome(FAILED, "what served was taken away meanwhile, by somebody else: try again")
            if now.state != "running":
                return None
            rolling, change = self._rolling(), change._replace(serving=now)
            outcome = rolling.swap(change) if is_edge(change.definition) else rolling.roll(change)
        except HostctlError as error:
            return Outcome(FAILED, str(error))
        now = self.containers().current(change.name)
        if outcome.what != FAILED and now is not None:
            self._note(change.name, now, read_text(self._layout.root / self._spec()["file"]) or "")
        return outcome

    def _by_compose(self, wanted: Sequence[Target]) -> Tuple[Dict[str, Outcome], str]:
        """One run of compose for all of them."""
        containers = self.containers()
        spec = self._spec()
        text = read_text(self._layout.root / spec["file"]) or ""
        outcomes: Dict[str, Outcome] = {}
        before: Dict[str, Optional[Seen]] = {}
        for target in wanted:
            try:
                self._make_ready(containers, target.name, compose_files.block_of(text, target.name))
                before[target.name] = containers.current(target.name)
            except HostctlError as error:
                outcomes[target.name] = Outcome(FAILED, str(error))
        reason = self._compose().up(spec["file"], list(before)) if before else ""
        for target in wanted:
            if target.name not in before:
                continue
            old, now = before[target.name], containers.current(target.name)
            outcomes[target.name] = outcome_of(target, old, now, reason)
            # What compose left alone has the secrets that there are: it compared them. When it failed, nobody knows.
            if now is not None and (not reason or old is None or old.id != now.id):
                self._note(target.name, now, text)
        return outcomes, reason

    def _make_ready(self, containers: Containers, name: str, block: str) -> None:
        """Before compose: what it would pull, or stumble over."""
        image = compose_files.image_of(block)
        if image and self._api.image(image) is None:
            raise HostctlError("its image %s is not on this host" % image)
        containers.tidy(name)
        if name == EDGE:
            self.edge().make_ready()
        if compose_files.has_documented_name(block, name):
            containers.aside.make_way(name)


def _is(digest: str) -> Callable[[Seen], bool]:
    """Whether a container is of this definition."""
    return lambda one: one.digest == digest
