internal import Basics
internal import Sealing

/// Who is collecting, under `claims/collector`: for economy, so that two collectors do not do the same work. Nothing
/// rests on it for safety (Format.md, "Collection").
package struct CollectorClaim: Hashable, Sendable {
    private static let label = "collector claim v1"

    /// Distinguishes two claims of one process.
    package var id: Identifier
    /// The host's name as the collector saw it.
    package var host: String
    /// Names the kernel's run and the process-id namespace in which `processID` counts.
    package var machine: String
    package var processID: UInt32

    package init(id: Identifier, host: String, machine: String, processID: UInt32) {
        self.id = id
        self.host = host
        self.machine = machine
        self.processID = processID
    }

    /// The stored bytes.
    package func encoded(keyring: Keyring) throws -> [UInt8] {
        var writer = ByteWriter(reserving: 256)
        writer.write(raw: id.bytes)
        writer.write(prefixed: Array(host.utf8))
        writer.write(prefixed: Array(machine.utf8))
        writer.write(littleEndian: processID)
        return try MetaBox.seal(writer.bytes, label: Self.label, name: ObjectNames.collectorClaim, keyring: keyring)
    }

    /// Reads stored bytes. Throws `.damaged`.
    package init(decoding bytes: [UInt8], keyring: Keyring) throws(FormatError) {
        self = try FormatError.reading("the collector's claim") {
            var reader = ByteReader(
                try MetaBox.open(bytes, label: Self.label, name: ObjectNames.collectorClaim, keyring: keyring))
            let claim = CollectorClaim(
                id: try Identifier.read(&reader),
                host: String(decoding: try reader.readPrefixed(maximum: 1024), as: UTF8.self),
                machine: String(decoding: try reader.readPrefixed(maximum: 1024), as: UTF8.self),
                processID: try reader.read(UInt32.self))
            try reader.expectEnd()
            return claim
        }
    }
}
