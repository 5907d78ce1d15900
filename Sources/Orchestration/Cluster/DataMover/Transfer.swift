internal import Basics
internal import Kubernetes

/// A DataUpload or DataDownload as it is in the cluster. All that the data mover knows of a transfer is in it and in what is
/// named after it, so any process goes on with what another one has begun.
struct Transfer: Sendable, Equatable {
    /// Which way data goes.
    enum Kind: String, Sendable, CaseIterable {
        case upload = "DataUpload"
        case download = "DataDownload"
    }

    /// How far it is (velero, `pkg/apis/velero/v2alpha1`).
    enum Phase: String, Sendable {
        case new = "New"
        case accepted = "Accepted"
        case prepared = "Prepared"
        case inProgress = "InProgress"
        case canceling = "Canceling"
        case canceled = "Canceled"
        case completed = "Completed"
        case failed = "Failed"

        /// Whether there is nothing more to move.
        var isTerminal: Bool { self == .canceled || self == .completed || self == .failed }
    }

    let kind: Kind
    var object: KubernetesObject

    /// Nil for an object of another kind.
    init?(_ object: KubernetesObject) {
        guard let kind = Kind(rawValue: object.kind) else { return nil }
        self.kind = kind
        self.object = object
    }

    /// Whether it is this data mover's to serve.
    var isOurs: Bool { object["spec", "datamover"]?.string == DataMover.name }

    /// Nil for a phase that this version does not know.
    var phase: Phase? {
        let text = object["status", "phase"]?.string ?? ""
        return text.isEmpty ? .new : Phase(rawValue: text)
    }

    /// Whether its end is asked for: by Velero, or by whoever deletes it.
    var isUnwanted: Bool { object["spec", "cancel"]?.bool == true || object.isBeingDeleted }

    var hasFinalizer: Bool { object.finalizers.contains(DataMover.finalizer) }

    /// The run of its mover: the same in every process.
    var run: String { DetachedMover.run(for: [kind.rawValue, object.uid]) }

    /// What is made for it is called so.
    var exposedName: String { "becalm-\(run)" }

    var namespace: String { object.namespace }
    var label: String { object.label }

    func text(_ path: JSONPath.Element...) -> String { object[JSONPath([.key("spec")] + path)]?.string ?? "" }

    func time(_ key: String) -> Timestamp? {
        object["status", .key(key)]?.string.flatMap { CalendarTime.parse(rfc3339: $0) }
    }

    /// Marks an object as made for this transfer.
    func mark(_ object: inout KubernetesObject) {
        object.setLabel(DataMover.label, run)
        object.setAnnotation(DataMover.transferAnnotation, name)
    }

    /// `DataUpload/NAMESPACE/NAME/UID`: which one it is, for good.
    var name: String { [kind.rawValue, namespace, object.name, object.uid].joined(separator: "/") }

    /// One that is gone, of which only its name is known.
    init?(named name: String) {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, let kind = Kind(rawValue: parts[0]), !parts.contains("") else { return nil }
        self.kind = kind
        object = KubernetesObject(
            GroupVersionKind(group: "velero.io", version: "v2alpha1", kind: parts[0]), namespace: parts[1],
            name: parts[2])
        object.uid = parts[3]
    }

    /// What is made for this transfer.
    var selector: LabelSelector { LabelSelector(matching: [DataMover.label: run]) }
}

/// What a status is to say; nil leaves a field as it is.
struct TransferStatus: Sendable, Equatable {
    var phase: Transfer.Phase?
    var message: String?
    var acceptedByNode: String?
    var accepted: Timestamp?
    var started: Timestamp?
    var completed: Timestamp?
    var node: String?
    var nodeOS: String?
    /// Bytes done, and in all.
    var progress: (done: UInt64, total: UInt64)?
    var snapshotID: String?
    var path: String?
    var incrementalBytes: UInt64?
    var result: [String: String]?

    init(_ phase: Transfer.Phase? = nil, message: String? = nil) {
        self.phase = phase
        self.message = message
    }

    static func == (left: TransferStatus, right: TransferStatus) -> Bool {
        left.fields == right.fields
    }

    /// The members of `status` to set. A text that is empty is taken out.
    private var fields: [String: JSONValue] {
        var fields: [String: JSONValue] = [:]
        func time(_ key: String, _ time: Timestamp?) {
            if let time { fields[key] = .string(CalendarTime(time).text) }
        }
        fields["phase"] = phase.map { .string($0.rawValue) }
        fields["message"] = message.map { .string(Self.line($0)) }
        fields["acceptedByNode"] = acceptedByNode.map { .string($0) }
        time("acceptedTimestamp", accepted)
        time("startTimestamp", started)
        time("completionTimestamp", completed)
        fields["node"] = node.map { .string($0) }
        fields["nodeOS"] = nodeOS.map { .string($0) }
        if let progress {
            fields["progress"] = ["bytesDone": .integer(progress.done), "totalBytes": .integer(progress.total)]
        }
        fields["snapshotID"] = snapshotID.map { .string($0) }
        fields["path"] = path.map { .string($0) }
        fields["incrementalBytes"] = incrementalBytes.map { .integer($0) }
        if let result {
            var members = JSONObject()
            for (key, value) in result.sorted(by: { $0.key < $1.key }) { members[key] = .string(value) }
            fields["dataMoverResult"] = .object(members)
        }
        return fields
    }

    /// The status with these fields.
    func applied(to status: JSONValue?) -> JSONValue {
        var members = status?.object ?? JSONObject()
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            members[key] = value.string == "" ? nil : value
        }
        return .object(members)
    }

    /// One line of what a person reads.
    private static func line(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return line.count > 1000 ? "\(line.prefix(1000))…" : line
    }
}
