"""What reached this process, exactly: how many POSTs, and which of those that have an id (`POST /count?id=7`).

Tests of updates need to know that no request was lost and none was counted twice, by any process. A process can be
gone by then, and a killed one says nothing more, so what has ids is kept in a file: `DATA/counted/PROCESS`, where
each process has its own. It is mapped, so that a crash loses nothing; its memory is the few pages that are touched.

The file: the number of POSTs with an id and of those whose id this process had already, 8 bytes each, the lower first;
then a bit for each id, 0 to `IDS - 1`.
"""

import mmap
import os
import struct
from pathlib import Path

#: Ids are numbers below this.
IDS = 1 << 20
_HEAD = struct.Struct("<QQ")
SIZE = _HEAD.size + IDS // 8


class Counted:
    """The counts of this process. `data`: where its file goes, once there is an id; None: nowhere."""

    def __init__(self, data: Path | None) -> None:
        self.process = os.urandom(6).hex()
        self.posts = self.doubles = 0
        self._data = data
        self._with_id = 0
        self._map: mmap.mmap | None = None

    def add(self, ident: int | None) -> None:
        """One more POST. Raises OSError when its file can't be made."""
        if ident is not None:
            if self._map is None:
                self._map = self._open()
            place, bit = _HEAD.size + ident // 8, 1 << ident % 8
            self.doubles += bool(self._map[place] & bit)
            self._map[place] |= bit
            self._with_id += 1
            _HEAD.pack_into(self._map, 0, self._with_id, self.doubles)
        self.posts += 1

    def _open(self) -> mmap.mmap:
        if self._data is None:
            return mmap.mmap(-1, SIZE)
        folder = self._data / "counted"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / self.process).open("x+b") as file:
            file.truncate(SIZE)
            return mmap.mmap(file.fileno(), SIZE)
