"""Pictures from the open web: many at once, few from one host, and nothing that does harm.

In the cache each picture has the SHA-256 of its URL for a name. In its place stands, in a record,
why there is none, where asking again would not help.
"""

import asyncio
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from dataset_builders.records import read_record, write_record
from dataset_builders.transfers import pause_before_retry
from dataset_builders.web_requests import SILENCE, Failure, Limits, Web, host_name, passes
from recbole_missrec.errors import UsageError
from recbole_missrec.files import replacing
from recbole_missrec.picture_files import open_picture

DEFAULT_LIMITS = Limits()
DECODERS = 2  # threads; each holds a decoded picture or two
SILENT_HOSTS = 50  # in a row, after which it must be the network


def fetch_pictures(
    addresses: Mapping[str, str], cache: Path, limits: Limits = DEFAULT_LIMITS
) -> tuple[dict[str, Path], Counter[str]]:
    """Fetch pictures by their URLs; of what an earlier call fetched, nothing is asked again.

    Failures that would come again (such as 404, or no picture) are remembered under the same
    limits; those that may pass (time-outs, status 429 and 5xx, no connection) are not. A progress
    bar shows on a terminal. Memory: the list of addresses, and at most ``limits.concurrent`` bodies
    and a few decoded pictures at a time. Proxies are not used, as they would look up the hosts.

    Args:
        addresses: raw item token -> http or https URL.
        cache: folder for what is fetched, made if need be.
        limits: of time, size, rate and place.

    Returns:
        Raw item token -> file, of each item whose picture decodes; and reason -> number of items
        without one.

    Raises:
        UsageError: no host can be reached, or the cache cannot be written.
    """
    folder = cache / "pictures"
    failed, missing = {}, []
    for address in dict.fromkeys(addresses.values()):
        path = _place(address, folder)
        if path.is_file():
            continue
        record = read_record(path)
        if record.get("limits") == _deciding(limits):
            failed[address] = record["reason"]
        else:
            missing.append(address)
    if missing:
        failed |= asyncio.run(_Round(folder, limits).fetch_all(missing))
    files = {
        item: _place(address, folder)
        for item, address in addresses.items()
        if address not in failed
    }
    return files, Counter(failed[url] for url in addresses.values() if url in failed)


def _place(address: str, folder: Path) -> Path:
    name = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
    return folder / name[:2] / name


def _deciding(limits: Limits) -> list[int]:
    """The limits under which a failure comes again."""
    return [limits.max_bytes, limits.max_pixels]


def _keep(body: bytes, path: Path, max_pixels: int) -> None:
    try:
        open_picture(io.BytesIO(body), max_pixels)
    except ValueError as error:
        raise Failure(str(error)) from error
    with replacing(path) as temporary:
        temporary.write_bytes(body)


class _Round:
    """One call's requests.

    Attributes:
        failed: address -> reason.
        silent: host -> the first of its addresses that was asked in vain since any host answered.
            Hosts that were silent in an earlier round, while others answered, are left out: they
            say nothing about the network.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.failed: dict[str, str] = {}
        self.silent: dict[str, str] = {}
        self.silent_before = set(read_record(folder / "silent-hosts").get("hosts", []))
        self.answers = 0  # until the last look
        self.web = Web(limits)
        self.decoders = ThreadPoolExecutor(DECODERS)

    async def fetch_all(self, addresses: list[str]) -> dict[str, str]:
        """Fetch each address into its place; address -> reason, of those that failed."""
        lanes = self._lanes(addresses)
        # Host look-ups block a thread each, some for seconds: none shall wait for another's.
        threads = ThreadPoolExecutor(self.limits.concurrent)
        asyncio.get_running_loop().set_default_executor(threads)
        with tqdm(total=len(addresses), desc="pictures", disable=None) as bar:
            workers = [
                asyncio.create_task(self._work(lanes, bar)) for _ in range(self.limits.concurrent)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                await self.web.close()
                self.decoders.shutdown()
                self._remember_hosts()
        if self.silent and not self.web.answers:
            raise self._no_network()
        return self.failed

    def _lanes(self, addresses: list[str]) -> Iterator[Iterator[str]]:
        """What workers go along: a host's addresses, shared by as many as may ask it at once.

        Those with the most come first, as they take longest.
        """
        by_host = defaultdict(list)
        for address in addresses:
            by_host[host_name(address)].append(address)
        for group in sorted(by_host.values(), key=len, reverse=True):
            yield from [iter(group)] * min(self.limits.per_host, len(group))

    async def _work(self, lanes: Iterator[Iterator[str]], bar: tqdm) -> None:
        for lane in lanes:
            for address in lane:
                await self._fetch(address)
                bar.update()

    async def _fetch(self, address: str) -> None:
        loop, limits = asyncio.get_running_loop(), self.limits
        path = _place(address, self.folder)
        for failures in range(1, limits.retries + 2):
            try:
                body = await self.web.get(address)
                await loop.run_in_executor(self.decoders, _keep, body, path, limits.max_pixels)
                return
            except Failure as error:
                failure = error
            if failures > limits.retries or not failure.again:
                break
            wish, first, longest = failure.retry_after, limits.back_off, limits.longest_wait
            await asyncio.sleep(pause_before_retry(failures, wish, first, longest))
        self._note(address, str(failure))

    def _note(self, address: str, reason: str) -> None:
        self.failed[address] = reason
        if not passes(reason):
            record = {"address": address, "reason": reason, "limits": _deciding(self.limits)}
            write_record(_place(address, self.folder), record)
        if self.web.answers > self.answers:
            self.answers = self.web.answers
            self.silent.clear()
        if reason in SILENCE and (host := host_name(address)) not in self.silent_before:
            self.silent.setdefault(host, address)
            if len(self.silent) == SILENT_HOSTS:
                raise self._no_network()

    def _remember_hosts(self) -> None:
        """Those that were silent while others answered; those that answer are forgotten."""
        hosts = self.web.hosts
        answering = {name for name, host in hosts.items() if host.answers}
        if answering:
            silent = {name for name, host in hosts.items() if host.misses} - answering
            known = sorted((self.silent_before - answering) | silent)
            write_record(self.folder / "silent-hosts", {"hosts": known})

    def _no_network(self) -> UsageError:
        address = next(iter(self.silent.values()))
        return UsageError(
            f"{address}: {self.failed[address]}, nor any answer from another host of pictures; "
            "run again with a network, what was fetched is kept, or go without: --image none"
        )
