"""The filter for API keys: what stands in it, and who it lets on."""

from __future__ import annotations

from dragoman.envoy import dump
from dragoman.envoy.filters import chain, rbac
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.rbac import v3 as rbac_proto

NAME = "envoy.filters.http.api_key_auth/0"
SET = ir.KeySet("shop")
ALICE, BOB = ir.Client("alice", SET), ir.Client("bob", SET)
KEYS = ir.ApiKeys((SET,), ("x-api-key",))


def made(*sets: ir.Keys) -> list[dict[str, str]]:
    item = chain.encode_shared(NAME, sets)
    assert item.sensitive
    shown = dump.to_dict(item)["typed_config"].get("credentials", [])[:-1]  # the last is nobody's
    assert b"secret" in item.payload or not shown
    return list(shown)


def test_keys_are_redacted_and_stand_once() -> None:
    one = ir.Keys((("secret-a", ALICE), ("secret-b", BOB)))
    shown = made(one, ir.Keys((("secret-a", ALICE),)))
    assert [each["key"] for each in shown] == ["[redacted]", "[redacted]"]
    assert "secret-" not in repr(shown)


def test_a_key_of_two_clients_is_nobodys() -> None:
    ambiguous = ir.Keys((("secret-a", ALICE), ("secret-a", BOB), ("secret-a", ALICE), ("secret-b", BOB)))
    assert len(made(ambiguous)) == 1


def rules(auth: ir.Auth) -> rbac_proto.RBACPerRoute:
    config = rbac._per_route(auth.rules, auth.keys)
    return rbac_proto.RBACPerRoute.FromString(config.value)


def test_a_dry_run_of_rules_lets_no_foreign_key_through() -> None:
    dry = rules(ir.Auth(keys=KEYS, rules=ir.AuthRules(allow=(), shadow=True))).rbac
    assert dry.HasField("shadow_rules")
    assert dry.rules.policies == rules(ir.Auth(keys=KEYS)).rbac.rules.policies
    assert dry.rules.policies


def test_rules_come_on_top() -> None:
    both = rules(ir.Auth(keys=KEYS, rules=ir.AuthRules(allow=()))).rbac
    assert not both.HasField("shadow_rules")
    assert len(both.rules.policies[rbac.POLICY].principals[0].and_ids.ids) == 2
