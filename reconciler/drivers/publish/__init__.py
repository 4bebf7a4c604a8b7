"""The driver `publish`: a directory tree with repositories of software, published atomically.

It does on plain directories what a CVMFS publishing service does behind a bucket and a message queue. What is
done differently, because it hurts people there:

- What is declared appears under the declared path, at any depth; nothing depends on the top folder's name.
- Failure is an error with a reason in the status of the upload, not a line on stderr or in a log.
- `.tar`, `.tar.gz`, `.tar.zst`, `.tar.xz` and directories, told by their content; each proved by its sha256.
- A new version never mixes with the old one: it is unpacked aside and shown in one rename, and a reader that
  has the old one open goes on reading it. `keepPrevious` versions stay readable, for those who need longer.
- Removing goes by the mark of the publication, not by a file name, and is noted in the repository's log.
- No events are lost, doubled, reordered or poisoned: each pass compares what is wanted with what is there.
- Names from outside reach no shell, no log and no path unchecked; a hostile archive is refused whole.
- Unpacking holds no lock: one big or broken upload does not hold up the others, in no repository.
- A killed run leaves what the next one sees and completes; no lease dangles, nothing is recovered by hand.
- The first upload makes its repository: nobody has to be asked, beyond the review of the merge request.
"""

from __future__ import annotations

from typing import Final

from reconciler.drivers.publish.client import free_space, open_reader, open_writer
from reconciler.drivers.publish.observing import KIND
from reconciler.drivers.publish.software_upload import SoftwareUploadHand
from reconciler.kind import Driver

_SETTINGS: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of a target of type publish",
    "description": "A directory that holds repositories of software, and one where uploads are laid down.",
    "type": "object",
    "required": ["path", "uploads"],
    "properties": {
        "path": {
            "title": "Directory of repositories",
            "description": "Holds one directory for every repository. Relative: inside the data folder, made "
            "when first needed. Absolute: must be there, so that a missing mount is not taken for emptiness.",
            "type": "string",
            "minLength": 1,
            "examples": ["software", "/srv/software"],
        },
        "uploads": {
            "title": "Directory of uploads",
            "description": "Where `spec.source` of an upload is looked up; links out of it are not followed.",
            "type": "string",
            "minLength": 1,
            "examples": ["uploads", "/srv/uploads"],
        },
        "maxBytes": {
            "title": "Largest upload, unpacked",
            "description": "In bytes, or as a size with its unit.",
            "type": ["integer", "string"],
            "minimum": 1,
            "pattern": "^[0-9]+([kMGT]i?)?B$",
            "default": "64GiB",
            "examples": ["64GiB", 500000000],
        },
        "maxMembers": {
            "title": "Most files, links and folders in one upload",
            "description": "An upload with more is refused whole.",
            "type": "integer",
            "minimum": 1,
            "default": 500000,
            "examples": [500000],
        },
    },
}

DRIVER: Final = Driver(
    name="publish",
    settings=_SETTINGS,
    reader=open_reader,
    writer=open_writer,
    hands={KIND: SoftwareUploadHand()},
    facts=free_space,
    write_seconds=3600.0,  # a large upload is unpacked in one write
    place=("path",),
)
