/// Names an operation that goes on after the call that began it, whole: another process, with nothing but this text and
/// the cluster, answers for it.
///
/// As text `becalm1/KIND/RUN/RESOURCE/NAMESPACE/NAME/UID/…`: fields between slashes, in each of which bytes other than
/// letters, digits, `.`, `-` and `_` stand as `%` and two hexadecimal digits. Users read it in Velero's lists of
/// operations. A field that no kind of this version knows, another version, or a spelling that this type would not write
/// is refused.
package struct OperationIdentifier: Hashable, Sendable {
    /// What goes on.
    package enum Kind: String, Sendable, CaseIterable {
        /// A workload is asked for a checkpoint, or stopped, and let go again.
        case quiesce
        /// The data of a volume is stored.
        case volumeBackup = "volume-backup"
        /// The data of a volume is brought back.
        case volumeRestore = "volume-restore"
        /// A restored workload waits for its data.
        case workloadRestore = "workload-restore"
    }

    package var kind: Kind
    /// The uid of the Backup or Restore that it belongs to.
    package var run: String
    /// The object it is about.
    package var subject: ResourceIdentifier
    /// The uid of that object, so that another one of its name is not taken for it.
    package var uid: String
    /// The object to look at for how far it is, such as the Job that moves the data.
    package var watched: ResourceIdentifier

    package init(kind: Kind, run: String, subject: ResourceIdentifier, uid: String, watched: ResourceIdentifier) {
        self.kind = kind
        self.run = run
        self.subject = subject
        self.uid = uid
        self.watched = watched
    }

    /// The version that this type writes and reads.
    private static let version = "becalm1"
    /// Bytes of the text at most: names have 253 bytes, namespaces and resources 63, uids 36.
    package static let maximumBytes = 2048

    /// Why a text is no identifier.
    package struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        /// One line.
        package var message: String
        package var description: String { message }
    }

    /// The text. Throws when it would be too long, which names of the API never are.
    package func text() throws(Malformed) -> String {
        let text =
            ([Self.version, kind.rawValue, run, subject.groupResource, subject.namespace, subject.name, uid]
            + [watched.groupResource, watched.namespace, watched.name])
            .map(Self.escape).joined(separator: "/")
        guard text.utf8.count <= Self.maximumBytes else {
            throw Malformed(message: "an operation id of \(text.utf8.count) bytes is too long")
        }
        return text
    }

    /// The identifier that `text` spells.
    package init(parsing text: String) throws(Malformed) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw Malformed(message: "an operation id of \(text.utf8.count) bytes is none of Becalm's")
        }
        var fields: [String] = []
        for field in text.split(separator: "/", omittingEmptySubsequences: false) {
            guard let plain = Self.unescape(field) else {
                throw Malformed(message: "`\(Self.shown(text))` is no operation id of Becalm")
            }
            fields.append(plain)
        }
        guard fields[0] == Self.version, fields.count == 10 else {
            let isOther = fields[0].hasPrefix("becalm") && fields[0] != Self.version
            throw Malformed(
                message: isOther
                    ? "`\(Self.shown(text))` was made by another version of Becalm; look at it with that version"
                    : "`\(Self.shown(text))` is no operation id of Becalm")
        }
        guard let kind = Kind(rawValue: fields[1]) else {
            throw Malformed(
                message: "operations of kind `\(Self.shown(fields[1]))` are not known to this version of Becalm")
        }
        self.init(
            kind: kind, run: fields[2], subject: Self.identifier(fields[3...5]), uid: fields[6],
            watched: Self.identifier(fields[7...9]))
        guard !run.isEmpty, !subject.resource.isEmpty, !subject.name.isEmpty, try self.text() == text else {
            throw Malformed(message: "`\(Self.shown(text))` is no operation id of Becalm")
        }
    }

    private static func identifier(_ fields: ArraySlice<String>) -> ResourceIdentifier {
        ResourceIdentifier(
            groupResource: fields[fields.startIndex], namespace: fields[fields.startIndex + 1],
            name: fields[fields.startIndex + 2])
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
            || ".-_".utf8.contains(byte)
    }

    private static func escape(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            if isPlain(byte) {
                bytes.append(byte)
            } else {
                let digits = String(byte, radix: 16)
                bytes.append(contentsOf: "%\(byte < 16 ? "0" : "")\(digits)".utf8)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func unescape(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.first {
            rest = rest.dropFirst()
            if isPlain(byte) {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard byte == UInt8(ascii: "%"), digits.count == 2,
                digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// For messages: one line, not too long.
    private static func shown(_ text: String) -> String {
        let plain = String(
            text.unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) })
        return text.unicodeScalars.count > 80 ? plain + "…" : plain
    }
}
