package import ArgumentParser

/// `becalm velero`
package struct VeleroCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "velero",
        abstract: "Read what Velero has stored, without Velero.",
        discussion: """
            Works on a location that Velero backs up to, as its BackupStorageLocation names it: s3://BUCKET/PREFIX, or a \
            directory that such a bucket was copied to. What the plugin becalm.io/s3 has encrypted is decrypted with \
            the same key; Velero's own command cannot do that. Nothing is ever written to the location.

            EXAMPLE:
              $ becalm velero list --location s3://backups/prod --encryption-key-file key
              $ becalm velero get nightly-20260801 --location s3://backups/prod --encryption-key-file key --target /tmp
            """,
        subcommands: [VeleroListCommand.self, VeleroGetCommand.self, VeleroCatCommand.self])

    package init() {}
}
