/// A workload as people name it: `NAMESPACE/KIND/NAME`, with the kind as kubectl takes it (`job`, `Job`, `jobs.batch`,
/// `job.v1.batch`).
package struct WorkloadReference: Hashable, Sendable, CustomStringConvertible {
    package var namespace: String
    /// As it was written; what it means is the server's to say.
    package var kind: String
    package var name: String

    package init(namespace: String, kind: String, name: String) {
        self.namespace = namespace
        self.kind = kind
        self.name = name
    }

    /// The reference that `text` spells. Throws on anything else, so that a typo names nothing by chance.
    package init(parsing text: String) throws(WorkloadError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, parts.allSatisfy(Self.isName) else {
            throw WorkloadError(
                "`\(text.prefix(200))` names no workload: write NAMESPACE/KIND/NAME, such as train/job/run42")
        }
        self.init(namespace: parts[0], kind: parts[1], name: parts[2])
    }

    /// What may stand between slashes: the names of objects (RFC 1123 subdomains, 253 characters at most), and kinds.
    private static func isName(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                    || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
            } && text.first != "." && text.last != "."
    }

    package var description: String { "\(namespace)/\(kind)/\(name)" }
}
