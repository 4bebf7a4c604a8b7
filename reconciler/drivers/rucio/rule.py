"""The hand for rules: what Rucio is to keep, where, and in how many copies.

One list shows all rules of an owner, whatever account has them. Marks: `rule_mark`; words: `rule_words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.rule_changing import change_rule, delete_rule, release_rule
from reconciler.drivers.rucio.rule_making import make
from reconciler.drivers.rucio.rule_mark import Marks, comment_of
from reconciler.drivers.rucio.rule_row import Row, sound_rows
from reconciler.drivers.rucio.rule_stuck import explained
from reconciler.drivers.rucio.rule_trust import asking, of_rules
from reconciler.drivers.rucio.rule_verifying import INCOMPLETE, verify_rule
from reconciler.drivers.rucio.rule_wish import Wish, wish_of
from reconciler.drivers.rucio.rule_words import iso, natural_key, observed, plain_key, utcnow
from reconciler.errors import BackendError, Conflict
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed


class RuleHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """A list of what is ours, one per account that natural keys name; some of the stuck are examined."""
        account, now, marks = client.server.account, utcnow(), Marks(asking(client, ask))
        things = []
        for rule in _listed(client, ask):
            mark = marks.of(rule, ask.owner)
            if mark is not None and mark.target != client.target:
                continue  # of another target at the same server
            key = "" if mark is not None else _key(rule, ask, account)
            if mark is not None or key:
                things.append(observed(rule, mark or key, client, ask.owner, now))
        return explained(client, things)

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """Every file of the data set, at every element where the rule has it."""
        return verify_rule(client, thing)

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """A batch of one."""
        for error in self.apply_together(client, [(change, mark)]):
            if error is not None:
                raise error

    def batch(self, change: Change) -> str:
        """All rules of a target: calls are made of those that are alike."""
        return "rules"

    def apply_together(
        self, client: Writer, changes: Sequence[tuple[Change, Mark]]
    ) -> Sequence[BackendError | None]:
        """New rules by many; then, one by one, the changes of those that are there."""
        became: dict[int, BackendError | None] = {}
        fresh: dict[int, Wish] = {}
        now = iso(utcnow())
        for place, (change, mark) in enumerate(changes):
            try:
                wish = wish_of(change, mark, client.target, now)
                if change.have is None:
                    fresh[place] = wish
                else:
                    _changed(client, change.have, wish)
                    became[place] = None
            except BackendError as error:
                became[place] = error
        became |= zip(fresh, make(client, list(fresh.values())), strict=True)
        return [became[place] for place in range(len(changes))]

    def release(self, client: Writer, change: Change) -> None:
        """Take comment and meta off; the rule stays."""
        release_rule(client, change)

    def delete(self, client: Writer, change: Change) -> None:
        """Let it expire now; until Rucio's daemons come by it is Deleting, and can be taken back."""
        delete_rule(client, change)


def _changed(client: Writer, have: Observed, wish: Wish) -> None:
    change_rule(client, have, wish)
    if have.reason == INCOMPLETE:
        raise Conflict(
            f"{have.message}; Rucio has not noticed it yet",
            hint="its daemons do; bad copies can be declared (`rucio replica state update bad`)",
        )


def _listed(client: Reader, ask: Ask) -> list[Row]:
    """Each rule once. Accounts are looked through only for keys at which there is nothing of ours."""
    account = client.server.account
    with client.rucio("the list of rules") as rucio:
        found = sound_rows(rucio.list_replication_rules({"comments": comment_of(ask.owner)}))
        for other in _accounts(found, ask, account):
            found += sound_rows(rucio.list_replication_rules({"account": other}))
    return list({str(rule["id"]): rule for rule in found}.values())


def _accounts(ours: Iterable[Row], ask: Ask, account: str) -> list[str]:
    """Whose rules have to be looked at for the natural keys that are asked for."""
    natural = of_rules(ask.natural)
    if not natural:
        return []
    held = {plain_key(natural_key(rule, account), account) for rule in ours}
    keys = {plain_key(key, account) for key in natural}
    return sorted({key.partition("|")[0] for key in keys - held})


def _key(rule: Row, ask: Ask, account: str) -> str:
    """The key under which a rule that is not ours is shown; empty: nobody asks for it."""
    key = natural_key(rule, account)
    named = f"{account}{key}" if key.startswith("|") else key
    return next((one for one in (key, named) if one in ask.natural), "")
