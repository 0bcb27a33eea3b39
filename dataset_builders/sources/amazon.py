"""A category of the Amazon reviews, out of the files of the 2018 or the 2023 release.

As in the published protocol (UniSRec, MISSRec): items without metadata are left out, ratings that
are equal in all columns count once, users and items with fewer than 5 ratings go until none is
left, and a user's ratings are ordered by time. The text of an item is its title, categories and
brand, its picture the best that the metadata has an address of.

The files are fetched, or with --source taken from another place: from a folder that has them under
their own names, such as Prime_Pantry.csv and meta_Prime_Pantry.json.gz, or from an address that
has them under the paths of the release, such as categoryFilesSmall/Prime_Pantry.csv.
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from dataset_builders.amazon_files import (
    RELEASES,
    category_of,
    read_ratings,
    read_reviews,
)
from dataset_builders.amazon_products import read_products
from dataset_builders.dataset_files import DatasetContent, Origin
from dataset_builders.downloads import fetch
from dataset_builders.filters import add_core_option, finish, k_core, sizes
from recbole_missrec.errors import UsageError

HELP = "a category of the Amazon reviews of 2018 or 2023, with texts and addresses of pictures"
MODALITIES = ("text", "image")
PUBLICATION = "UniSRec (KDD 2022) and MISSRec (ACM MM 2023)"
PUBLISHED = {  # users, items, interactions; 2018, 5-core
    "Industrial_and_Scientific": (8_442, 4_385, 59_427),
    "Prime_Pantry": (13_101, 4_898, 126_962),
    "Musical_Instruments": (24_962, 9_964, 208_926),
    "Arts_Crafts_and_Sewing": (45_486, 21_019, 395_150),
    "Office_Products": (87_346, 25_986, 684_837),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Category, files and filters."""
    parser.add_argument(
        "--set",
        required=True,
        metavar="CATEGORY",
        help="Pantry, Scientific, Instruments, Arts, Office, or any other of the release",
    )
    add_file_options(parser)
    parser.add_argument("--name", help="of the data set (CATEGORY; of 2023, CATEGORY-2023)")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Options that do not depend on the category."""
    parser.add_argument("--release", choices=sorted(RELEASES), default="2018", help="(2018)")
    parser.add_argument(
        "--from",
        dest="records",
        choices=["ratings", "reviews"],
        default="ratings",
        help="files that the interactions come from; ratings are the small ones (ratings)",
    )
    parser.add_argument(
        "--source",
        metavar="PATH|URL",
        help="a folder or address that has the files (the release's)",
    )
    add_core_option(parser, default=5)


def addresses(options: argparse.Namespace) -> list[str]:
    """URLs of the files that :func:`build` fetches.

    Raises:
        UsageError: no such category, or no such folder.
    """
    return [address for address in locate(options.set, options) if "://" in address]


def build(options: argparse.Namespace) -> DatasetContent:
    """The data set of ``--set``.

    Raises:
        UsageError: no such category, no such file, a damaged one, or nothing left.
    """
    name = options.set if options.release == "2018" else f"{options.set}-{options.release}"
    return replace(read_category(options.set, options), name=options.name or name)


def locate(name: str, options: argparse.Namespace) -> list[str]:
    """Where a category's interactions and its metadata are, by path or URL.

    Raises:
        UsageError: no such category, or no such folder.
    """
    release, source = RELEASES[options.release], options.source
    category = category_of(name, options.release)
    paths = [path.format(category) for path in (release.files[options.records], release.metadata)]
    if source is None:
        return [release.base + path for path in paths]
    if re.match("(?i)https?://", source):
        return [f"{source.rstrip('/')}/{path}" for path in paths]
    if not Path(source).is_dir():
        raise UsageError(f"--source {source}: no such folder, and no http or https address")
    return [str(Path(source) / Path(path).name) for path in paths]


def read_category(name: str, options: argparse.Namespace) -> DatasetContent:
    """One category, filtered.

    Time grows as the bytes of its files; memory as the interactions, 20 bytes each, and as the
    texts of the items that the k-core of all of them leaves.

    Args:
        name: short or full name of the category.
        options: release, records, source, core and cache.

    Raises:
        UsageError: no such category, no such file, a damaged one, or nothing left.
    """
    release = RELEASES[options.release]
    category = category_of(name, options.release)
    records, metadata = (fetch(file, options.cache) for file in locate(name, options))
    read = {"ratings": read_ratings, "reviews": read_reviews}[options.records]
    interactions = read(records.path, release)
    steps = [(options.records, sizes(interactions))]
    interactions = interactions.drop_duplicates()
    steps.append(("equal ones counted once", sizes(interactions)))
    # Leaving out items first cannot keep another one: what is not in the k-core of all
    # interactions is not in that of a part. So texts of other items need not be held.
    wanted = set(k_core(interactions, options.core)["item_id"].unique())
    occurring = set(interactions["item_id"].unique())
    products = read_products(metadata.path, release, occurring, wanted)
    if not products.known:
        raise UsageError(
            f"{metadata.path}: has none of the {len(occurring):,} items of {records.path}"
        )
    interactions = interactions[interactions["item_id"].isin(products.known)]
    steps.append(("items without metadata left out", sizes(interactions)))
    interactions, last_steps = finish(interactions, options.core)
    if release.ticks > 1:
        interactions["timestamp"] = interactions["timestamp"] / release.ticks
    items = set(interactions["item_id"].unique())
    published = (
        PUBLISHED.get(category, ()) if options.release == "2018" and options.core == 5 else ()
    )
    return DatasetContent(
        name,
        interactions,
        texts={item: text for item, text in products.texts.items() if item in items},
        categories={item: kind for item, kind in products.categories.items() if item in items},
        pictures={item: url for item, url in products.pictures.items() if item in items},
        origin=Origin(
            (records, metadata),
            (*steps, *last_steps),
            dict(zip(("users", "items", "interactions"), published, strict=False)),
            PUBLICATION if published else "",
        ),
    )
