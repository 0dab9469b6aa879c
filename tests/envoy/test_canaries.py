"""A secret of its own in every field that takes one, good ones and bad ones, and none of them anywhere but
where it belongs: not in the log at its most talkative, the admin pages, the metrics, what the command line
says of the files, CSDS, or Envoy's own dump.

Real processes: `dragoman run` with both companions in it, Envoy, Redis, an issuer. Each secret is looked for
as it is and in base64, and each is shown to be in use, or to be complained about, first.
"""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any, Final

import grpc.aio
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa

from dragoman.admin import api
from dragoman.cli import main
from dragoman.xds.csds_messages import SERVICE
from tests.envoy.test_auth import HOST, ask, bearer, policy
from tests.envoy.test_auth_basic import line, login
from tests.envoy.test_auth_keys import route_target, secret
from tests.envoy.test_authz_tls import Files
from tests.harness import manifests, net, redis as servers, tokens
from tests.harness.certs import Authority
from tests.harness.issuer import Issuer
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.provider import Provider
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

BAD: Final = ("DRG1502", "DRG1503", "DRG1801", "DRG1811", "DRG1812", "DRG1841", "DRG1851")
"""What has to be complained about, beside what cannot be read at all."""
EXPIRES: Final = 4_000_000_000


class Canaries:
    """Words, by what they are for."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def new(self, what: str, length: int = 16) -> str:
        word = self.words[what] = f"c{len(self.words)}x{secrets.token_hex(length)}"
        return word

    def pem(self, what: str, text: str) -> str:
        """A key in PEM: a line in its middle."""
        self.words[what] = text.strip().splitlines()[2]
        return text

    def number(self, what: str, value: int) -> str:
        """A number of a key, as JWK has it."""
        text = self.words[what] = tokens.encoded(value.to_bytes((value.bit_length() + 7) // 8))
        return text

    def found(self, text: str) -> list[str]:
        """What stands in a text, as it is or in base64, whatever stands around it."""
        return [what for what, word in self.words.items() if any(one in text for one in _forms(word))]


def _forms(word: str) -> list[str]:
    forms = [word]
    for before in range(3):
        shifted = base64.b64encode(b"\0" * before + word.encode()).decode().rstrip("=")
        forms.append(shifted[4 if before else 0 : -1])
    return forms


def private_jwks(canaries: Canaries, what: str) -> str:
    """A key set with the private half, as people take it from the wrong file."""
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.private_numbers()
    jwk = tokens.public(key.public_key(), "one") | {"alg": "RS256"}
    jwk |= {"d": canaries.number(f"{what}, d", numbers.d), "p": canaries.number(f"{what}, p", numbers.p)}
    return json.dumps({"keys": [jwk]})


def good(canaries: Canaries, issuer: Issuer, provider: Provider, inline: str) -> list[manifests.Body]:
    """Secrets that are in use, and policies that use them; a rule for each."""
    issuer.secret = canaries.new("client secret of introspection")
    password = canaries.new("password")
    users = line("ann", password)
    canaries.words["hash of a password"] = users.partition("}")[2]
    told = {"endpoint": issuer.endpoint, "clientID": issuer.client, "clientSecretRef": {"name": "gateway"}}
    browsers = {
        "issuer": provider.issuer,
        "clientID": "shop",
        "clientSecretRef": {"name": "login"},
        "cookieSecretRef": {"name": "cookies"},
    }
    own = {"name": "own", "issuer": "https://own.example", "audiences": ["shop"]}
    return [
        secret("gateway", **{"client-secret": issuer.secret}),
        secret("login", **{"client-secret": canaries.new("client secret of a login")}),
        secret("cookies", **{"cookie-secret": canaries.new("secret of cookies", 24)}),
        secret("alice-keys", one=canaries.new("API key of a Consumer")),
        secret("partners", bob=canaries.new("API key of a Secret")),
        secret("users", **{".htpasswd": users}),
        secret("keys", jwks=private_jwks(canaries, "key set of a Secret")),
        consumer("alice", "alice-keys"),
        policy("looked-up", route_target("looked-up"), introspection=told),
        policy("pages", route_target("pages"), oidc=browsers),
        policy("keys", route_target("keys"), apiKeys={"secretRefs": [{"name": "partners"}]}),
        policy("consumers", route_target("consumers"), apiKeys={}),
        policy("people", route_target("people"), basic={"secretRefs": [{"name": "users"}]}),
        policy("sold", route_target("sold"), redisKeys={"headers": ["X-API-Key"]}),
        policy("inline", route_target("inline"), jwt={"providers": [{**own, "jwks": {"inline": inline}}]}),
        policy(
            "held",
            route_target("held"),
            jwt={"providers": [{**own, "jwks": {"ref": {"kind": "Secret", "name": "keys", "key": "jwks"}}}]},
        ),
    ]


def bad(canaries: Canaries) -> dict[str, str]:
    """Files with secrets that cannot be used, each in its own way."""
    same = canaries.new("a key of two")
    symmetric = tokens.encoded(canaries.new("symmetric key").encode())
    canaries.words["symmetric key, as it stands"] = symmetric
    other = Authority()
    misfit = manifests.tls_secret(
        "misfit",
        other.issue("a.example").certificate,
        canaries.pem("key that does not fit", other.issue("a.example").key),
    )
    garbage = manifests.tls_secret(
        "garbage", other.issue("a.example").certificate, canaries.new("key that is none")
    )
    provider = {"name": "odd", "issuer": "https://odd.example", "audiences": ["shop"]}
    hmac = json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": symmetric}]})
    broken = canaries.new("key set that is none")
    objects: list[manifests.Body] = [
        misfit,
        garbage,
        secret("blank", one=f"with blanks {canaries.new('key with blanks')}"),
        consumer("blank", "blank"),
        secret("same", one=same),
        secret("again", one=same),
        consumer("same", "same"),
        consumer("again", "again"),
        secret("short", **{"cookie-secret": canaries.new("short secret of cookies", 8)}),
        secret("plain", **{".htpasswd": f"bob:{canaries.new('password in the clear')}"}),
        secret("broken", jwks=f"{{{broken}"),
        policy("p1", route_target("b1"), basic={"secretRefs": [{"name": "plain"}]}),
        policy(
            "p3",
            route_target("b3"),
            jwt={
                "providers": [
                    {**provider, "jwks": {"ref": {"kind": "Secret", "name": "broken", "key": "jwks"}}}
                ]
            },
        ),
        policy(
            "p4",
            route_target("b4"),
            oidc={
                "issuer": "https://odd.example",
                "authorizationEndpoint": "https://odd.example/a",
                "tokenEndpoint": "https://odd.example/t",
                "clientID": "shop",
                "clientSecretRef": {"name": "short", "key": "cookie-secret"},
                "cookieSecretRef": {"name": "short"},
            },
        ),
        policy(
            "p5",
            route_target("b5"),
            jwt={
                "providers": [{**provider, "jwks": {"inline": private_jwks(canaries, "cut key set")[:-40]}}]
            },
        ),
    ]
    texts = {
        "not-base64": f'data: {{one: "{canaries.new("entry that is no base64")}!"}}',
        "misspelt": f"dta: {{one: {canaries.new('entry of a misspelt field')}}}",
        "a-list": f"stringData: {{one: [{canaries.new('entry that is a list')}]}}",
        "no-yaml": f'stringData:\n  one: "{canaries.new("entry without an end")}\n  two: [',
        "twice": f"stringData:\n  one: {canaries.new('first of two')}\n  one: {canaries.new('the second')}",
    }
    keys = "apiVersion: dragoman.dev/v1alpha1\nkind: AuthPolicy\n"
    keys += "metadata: {{name: {}, namespace: shop}}\nspec:\n"
    keys += "  targetRefs: [{{kind: HTTPRoute, name: shop, sectionName: b2}}]\n  jwt:\n    providers:\n"
    keys += "    - {{name: odd, issuer: 'https://odd.example', audiences: [shop], jwks: {{inline: '{}}}}}\n"
    cut = json.dumps({"keys": [{"kty": "oct", "k": canaries.new("symmetric key in a broken file")}]})
    head = "apiVersion: v1\nkind: Secret\nmetadata: {{name: {}, namespace: shop}}\n{}\n"
    return {
        "bad": manifests.dump(objects),
        "one-line": keys.format("one-line", f"{hmac}'"),
        "cut": keys.format("cut", cut),
        **{name: head.format(name, text) for name, text in texts.items()},
    }


def consumer(name: str, *refs: str) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Consumer",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"apiKeys": [{"name": ref} for ref in refs]},
    }


def settings(canaries: Canaries, folder: Path, redis: servers.Redis) -> dict[str, str]:
    """Both companions behind TLS, both with Redis."""
    authority = Authority()
    files = Files(folder / "pem")
    files.write(authority, [authority])
    for name in ("server.key", "client.key"):
        canaries.pem(f"{name} of the companions", (files.folder / name).read_text())
    server = {"certificate": "server.crt", "key": "server.key", "client_ca": "ca.crt"}
    client = {"certificate": "client.crt", "key": "client.key", "ca": "ca.crt"}
    found = {}
    for section in ("AUTHZ", "RATELIMIT"):
        found[f"DRAGOMAN_{section}_STORE"] = redis.url
        for name, one in (("TLS", server), ("TRUST", client)):
            said = {key: files.path(file) for key, file in one.items()}
            found[f"DRAGOMAN_{section}_{name}"] = json.dumps(said)
    return found


async def test_secrets_are_nowhere_else(tmp_path: Path, envoy_binary: Path) -> None:
    canaries = Canaries()
    async with (
        servers.Redis(tmp_path, password=canaries.new("password of Redis")) as redis,
        Issuer() as issuer,
        Provider() as provider,
    ):
        site = Site(tmp_path)
        site.plane = Plane(tmp_path, environment=settings(canaries, tmp_path, redis), log_level="debug")
        async with site:
            await _fill(site, canaries, issuer, provider)
            await _use(site, canaries, issuer)
            await redis.kill()
            refused = await ask(site, "/sold", f"X-API-Key: {canaries.new('key while Redis is away')}")
            assert refused.status == 503
            pages = await _pages(site)
        pages["log"] = site.plane.log
    assert "DEBUG" in pages["log"]
    complaints = pages["api diagnostics"]
    assert [code for code in BAD if code not in complaints] == []
    assert [name for name, page in pages.items() if not page or "PRIVATE KEY" in page] == []
    found = [(name, what) for name, page in pages.items() for what in canaries.found(page)]
    assert not found, "\n".join(map(str, found))
    assert canaries.found((site.plane.folder / "auth.yaml").read_text()), "the search finds what there is"


async def _fill(site: Site, canaries: Canaries, issuer: Issuer, provider: Provider) -> None:
    names = ("looked-up", "pages", "keys", "consumers", "people", "sold", "inline", "held")
    names += tuple(f"b{number}" for number in range(1, 6))
    rules = [rule("shop"), *(rule("shop", path=f"/{name}", name=name) for name in names)]
    pair = Authority().issue("shop.example")
    certificate = manifests.tls_secret("edge", pair.certificate, canaries.pem("key of a listener", pair.key))
    site.plane.write("tls.yaml", certificate)
    listeners = [
        manifests.listener(name, net.free_port(), secret=name, hostname=f"{name}.example", protocol="HTTPS")
        for name in ("edge", "misfit", "garbage")
    ]
    gateway = site.gateway(*listeners)
    gateway[1]["spec"]["tls"] = {"backend": {"clientCertificateRef": {"name": "edge"}}}
    site.plane.write("gateway.yaml", *gateway)
    issuer.tokens["active"] = {"active": True, "sub": "ann"}
    site.plane.write("auth.yaml", *good(canaries, issuer, provider, private_jwks(canaries, "inline key set")))
    for name, text in bad(canaries).items():
        (site.plane.folder / f"{name}.yaml").write_text(text)
    limit = {"each": {"requests": 1000, "per": "Hour", "key": [{"type": "Header", "name": "x-user"}]}}
    limits = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "RateLimitPolicy",
        "metadata": {"name": "each", "namespace": "shop"},
        "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": "shop"}], "limits": limit},
    }
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules), limits)
    await site.served(HOST)


async def _use(site: Site, canaries: Canaries, issuer: Issuer) -> None:
    """Requests that show that the good ones are in use; and some with bad credentials."""

    async def answered(path: str, status: int, *lines: str) -> None:
        async def so() -> bool:
            return (await ask(site, path, *lines)).status == status

        await net.until(f"{path} answered with {status}", so)

    words = canaries.words
    await answered("/looked-up", 200, bearer("active"))
    await answered("/keys", 200, f"X-API-Key: {words['API key of a Secret']}")
    await answered("/consumers", 200, f"X-API-Key: {words['API key of a Consumer']}")
    await answered("/people", 200, login("ann", words["password"]))
    await answered("/pages", 302, "accept: text/html")
    for path in ("/inline", "/held"):
        await answered(path, 401)
    await answered("/sold", 401, f"X-API-Key: {canaries.new('key that nobody has')}")
    await answered("/b1", 401, login("bob", words["password in the clear"]))
    for path in ("/b2", "/b3", "/b4", "/b5"):
        await answered(path, 500)
    await answered("/looked-up", 401, bearer(canaries.new("token that nobody has")))
    issuer.mode = "malformed"
    await answered("/looked-up", 503, bearer(canaries.new("token of which nobody can tell")))


async def _pages(site: Site) -> dict[str, str]:
    """Everything that anybody is shown."""
    pages = {"metrics": await site.plane.get("/metrics")}
    queries = {"snapshot": "?body=1", "explain": f"?url=http://{HOST}/keys"}
    for endpoint in api.ENDPOINTS:
        page = f"{api.PREFIX}/{endpoint.name}{queries.get(endpoint.name, '')}"
        pages[f"api {endpoint.name}"] = json.dumps(await site.plane.get(page))
    for what in ("secret/shop/gateway", "authpolicy/shop/inline", "gateway/shop/edge", "httproute/shop/shop"):
        pages[f"explain {what}"] = json.dumps(await site.plane.get(f"{api.PREFIX}/explain?object={what}"))
    pages["Envoy's dump"] = json.dumps(await site.envoy.get("/config_dump?include_eds"))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{site.plane.xds_port}") as channel:
        told: Any = await channel.unary_unary(f"/{SERVICE}/FetchClientStatus")(b"", timeout=30)
    pages["CSDS"] = told.decode("latin-1")
    folder = str(site.plane.folder)
    for form in ("text", "json", "yaml", "sarif", "github"):
        pages[f"validate, {form}"] = _command("validate", folder, "-o", form)
    pages["snapshot show"] = _command("snapshot", "show", folder, "-o", "yaml")
    return pages


def _command(*arguments: str) -> str:
    result = CliRunner().invoke(main.cli, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output
