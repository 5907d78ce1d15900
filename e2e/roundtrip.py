#!/usr/bin/env python3
"""A tree goes into a repository and comes back the same, in a directory and on every S3 server that can be had.

The tree: small files, an awkward tree (see trees.py), one big file. For each store: init, backup, restore, compare
with compare.py; the unchanged tree again (nothing new is stored); verify in full. The content digest must be the same
in every store, after the second backup, and as restore prints it.

Quick: 2,000 small files and 64 MB. Full: 20,000 small files and 4 GB.
"""

import os
import sys

import compare
import harness
import servers
import trees

STORES = ("directory", *servers.KINDS)


def journey(report, becalm, name, source, expected, scratch, owners, digests):
    """One store's part; notes the content digest in `digests`."""
    becalm.init()
    made = becalm.backup(source)
    digests[name] = made.get("content_digest")
    report.say(
        f"{name}: backup of {made.get('bytes_read', 0) / 1e6:.0f} MB in {made.get('duration_seconds', 0):.1f} s, "
        f"{made.get('bytes_stored', 0) / 1e6:.0f} MB stored")
    files = sum(entry["kind"] == "file" for entry in expected.values())
    report.check(made.get("files", 0) >= files * 0.99, f"{name}: the summary counts the files",
                 f"{made.get('files')} of {files}")
    target = os.path.join(scratch, "restored")
    try:
        restored = becalm.restore(made["snapshot"], target)
        found = compare.differences(
            expected, compare.describe(os.path.join(target, os.path.basename(source))), owners=owners, sockets=False)
        report.equal(found, f"{name}: the restored tree equals its source")
        report.check(
            restored.summary.get("content_digest") == made.get("content_digest") is not None,
            f"{name}: restore prints the content digest of the backup",
            f"{restored.summary.get('content_digest')} and {made.get('content_digest')}")
        report.say(f"{name}: restored in {restored.seconds:.1f} s")
    finally:
        trees.remove_tree(target)

    again = becalm.backup(source)
    report.check(again.get("content_digest") == made.get("content_digest"), f"{name}: the digest stays when nothing changed")
    report.check(again.get("bytes_new") == 0, f"{name}: nothing is stored anew when nothing changed",
                 f"bytes_new is {again.get('bytes_new')}")
    report.check(len(becalm.snapshots()) == 2, f"{name}: both snapshots are listed")
    report.equal(harness.damage(becalm.verify(codes=(harness.DONE, harness.INTEGRITY))), f"{name}: verify finds nothing wrong")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--big-bytes", type=trees.parse_size, help="size of the big file")
    parser.add_argument("--small-files", type=int, help="number of small files")
    parser.add_argument("--stores", help="some of " + ", ".join(STORES) + " (default: all; quick: not radosgw unless its "
                        "programs are there)")
    options = parser.parse_args()
    big = options.big_bytes or (64_000_000 if options.quick else 4_000_000_000)
    count = options.small_files or (2_000 if options.quick else 20_000)
    stores = options.stores or ",".join(
        name for name in STORES if not options.quick or name != "radosgw" or servers.gateway_is_fetched())
    report, owners = harness.Report("roundtrip"), os.geteuid() == 0
    with harness.Scratch(options) as scratch:
        source = os.path.join(scratch, "source", "run42")
        os.makedirs(source)
        trees.small_files(os.path.join(source, "small"), count, options.seed)
        for line in trees.awkward(os.path.join(source, "awkward"), options.seed):
            report.skip("part of the awkward tree", line)
        trees.big_file(os.path.join(source, "big.bin"), big, options.seed)
        trees.set_times(source, trees.EPOCH_NS + 42)
        expected = compare.describe(source)
        report.say(f"{len(expected)} entries, {sum(e.get('size', 0) for e in expected.values()) / 1e6:.0f} MB")

        digests = {}
        for name in stores.split(","):
            place = os.path.join(scratch, name)
            os.mkdir(place)
            try:
                if name == "directory":
                    becalm = harness.Becalm(os.path.join(place, "repository"), place)
                    journey(report, becalm, name, source, expected, place, owners, digests)
                else:
                    with servers.start(name) as server:
                        becalm = harness.Becalm(f"s3://{server.bucket()}/a/prefix", place, server.environment())
                        journey(report, becalm, name, source, expected, place, owners, digests)
            except servers.Unavailable as reason:
                report.skip(name, reason)
            except harness.Unexpected as failure:
                report.check(False, f"{name}: the journey", str(failure))
            finally:
                trees.remove_tree(place)
        report.check(len(set(digests.values())) == 1 and None not in digests.values(),
                     f"the content digest is the same in {', '.join(digests)}", str(digests))
        report.equal(compare.differences(expected, compare.describe(source)), "the source was left as it was")
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
