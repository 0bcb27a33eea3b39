"""RecBole's data sets without its Python loops over rows and users."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource

from recbole_missrec.data.atomic import read_interactions
from recbole_missrec.data.domains import domains, token_domains
from recbole_missrec.data.groups import Groups, last_rows
from recbole_missrec.errors import UsageError


class ArrayDataset(Dataset):
    """RecBole's ``Dataset``, its interactions read, filtered and split by array operations.

    The result is equal, whatever the options. Time grows as the interactions (sorting them apart),
    and so does memory: the tokens of the file as pandas' strings are most of it.
    """

    def _download(self) -> None:
        """Not RecBole's: files have been found before, and several data sets have no one folder."""

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        """Read the interactions; of several domains one after the other, their tokens prefixed."""
        parts = domains(self.config)
        if len(parts) == 1:
            super()._load_inter_feat(token, dataset_path)
            return
        frames = []
        for domain in parts:
            path = domain.folder / f"{domain.name}.inter"
            frame: Any = self._load_feat(str(path), FeatureSource.INTERACTION)
            for field in (self.uid_field, self.iid_field):
                frame[field] = domain.prefix + frame[field]
            frames.append(frame)
        self.inter_feat = pd.concat(frames, ignore_index=True)

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        """Read interactions by pandas' C parser, where RecBole takes its Python one.

        RecBole reads the header, for fields and types. Files with sequences are left to it.
        """
        encoding, separator = self.config["encoding"], self.config["field_separator"]
        try:
            with open(filepath, encoding=encoding) as file:
                header = file.readline()
        except UnicodeError as error:
            raise UsageError(f"{filepath}: {error}; save it as {encoding}") from error
        if source != FeatureSource.INTERACTION or "_seq" in header:
            return super()._load_feat(filepath, source)
        with tempfile.TemporaryDirectory() as folder:
            only_header = Path(folder) / "header"
            only_header.write_text(header, encoding=encoding)
            empty = super()._load_feat(str(only_header), source)
        if empty is None:
            return None
        names = [name for name in header[:-1].split(separator) if name.split(":")[0] in empty]
        types = dict(zip(names, empty.dtypes, strict=True))
        needed = (self.uid_field, self.iid_field, self.time_field)
        required = [name for name in names if name.split(":")[0] in needed]
        frame = read_interactions(Path(filepath), types, required, separator, encoding)
        return frame.set_axis(empty.columns, axis=1)

    def _filter_by_inter_num(self) -> None:
        """Filter users and items by their numbers of interactions, until none is out of bounds."""
        if self.user_feat is not None or self.item_feat is not None:
            super()._filter_by_inter_num()
            return
        kinds = {self.uid_field: "user", self.iid_field: "item"}
        bounds = {
            field: self._parse_intervals_str(self.config[f"{kind}_inter_num_interval"])
            for field, kind in kinds.items()
            if field is not None
        }
        codes = {
            field: pd.factorize(self.inter_feat[field])[0]  # [rows]
            for field, intervals in bounds.items()
            if intervals
        }
        while codes:
            kept = np.logical_and.reduce(
                [self._within_intervals(np.bincount(c)[c], bounds[f]) for f, c in codes.items()]
            )  # [rows]
            if kept.all():
                break
            self.inter_feat.drop(self.inter_feat.index[~kept], inplace=True)
            codes = {field: values[kept] for field, values in codes.items()}

    def build(self) -> list[Any]:
        """Split; of validation and test keep the rows of ``max_eval_users``, drawn by the seed.

        Of several domains as many users of each; the same for every model. ``held_out`` of a part
        says how often it has each item as a target, before, int64 ``[item_num]``. Of training keep
        the rows of a share ``train_share`` of the users, drawn by the seed apart from those;
        candidates stay.

        Raises:
            UsageError: that share is of no user.
        """
        train, *others = super().build()
        share = self.config["train_share"]
        if share < 1:
            generator = torch.Generator().manual_seed(self.config["seed"])
            lots = torch.rand(2, self.user_num, generator=generator)  # the first is of `_drawn`
            kept = (lots[1] < share)[train.inter_feat[self.uid_field]]  # [rows]
            if not kept.any():
                raise UsageError(f"--train_share={share}: no user is drawn; raise it")
            train.inter_feat = train.inter_feat[kept]
        for part in others:
            items = part.inter_feat[self.iid_field]
            part.held_out = torch.bincount(items, minlength=self.item_num)
            if self.config["max_eval_users"] is not None:
                part.inter_feat = part.inter_feat[self._drawn(part.inter_feat)]
        return [train, *others]

    def _drawn(self, rows: Any) -> torch.Tensor:
        """Which rows are of the users that are drawn, bool ``[rows]``."""
        generator = torch.Generator().manual_seed(self.config["seed"])
        lot = torch.rand(self.user_num, generator=generator)  # [user_num]
        users = rows[self.uid_field].unique()
        users = users[lot[users].argsort()]
        domain = token_domains(self, self.uid_field)[users].numpy()
        drawn = users[last_rows(domain, self.config["max_eval_users"])]
        return torch.isin(rows[self.uid_field], drawn)

    def _grouped_index(self, group_by_list: np.ndarray) -> Groups:
        return Groups(group_by_list)

    def _split_index_by_leave_one_out(
        self, grouped_index: Groups, leave_one_num: int
    ) -> list[np.ndarray]:
        return grouped_index.leave_out(leave_one_num)
