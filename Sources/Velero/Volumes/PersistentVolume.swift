internal import Kubernetes
internal import Orchestration
internal import Snapshots

/// Of the two that are in sight, the one that keeps what it has read.
private typealias JSONValue = Kubernetes.JSONValue

/// A PersistentVolume as this plugin reads and changes it. What it does not know stays byte for byte.
struct PersistentVolume: Sendable {
    /// What a PersistentVolume is to this plugin.
    enum Finding: Hashable, Sendable {
        case volume(VolumeID)
        /// Not one that it takes; why, for the log.
        case foreign(String)
    }

    private var object: KubernetesObject

    /// Throws `invalidArgument` for what is no object.
    init(_ json: [UInt8]) throws(VeleroError) {
        do throws(KubernetesObject.Malformed) {
            object = try KubernetesObject(parsing: json)
        } catch {
            throw VeleroError(.invalidArgument, "the PersistentVolume that Velero gave makes no sense: \(error)")
        }
    }

    /// For messages.
    var name: String { object.name.isEmpty ? "without a name" : PathText.display(Array(object.name.utf8)) }

    /// Types of a hostPath that are directories; others are files, sockets and devices (the API's HostPathType).
    private static let directoryTypes: Set<String> = ["", "Directory", "DirectoryOrCreate"]

    /// The volume in it, by its source. Throws `invalidArgument` for a path with `..` and such.
    func finding() throws(VeleroError) -> Finding {
        if object.isBlockVolume {
            return .foreign(
                "it is a block device (volumeMode Block), which no directory shows: \(PluginName.volumeBackup.rawValue) stores such"
            )
        }
        if let source = object["spec", "hostPath"]?.object {
            let type = source["type"]?.string ?? ""
            guard Self.directoryTypes.contains(type) else { return .foreign("its hostPath is a \(type)") }
            return .volume(VolumeID(kind: .hostPath, path: try path(source["path"], "hostPath.path")))
        }
        if let source = object["spec", "local"]?.object {
            return .volume(VolumeID(kind: .local, path: try path(source["path"], "local.path")))
        }
        if let source = object["spec", "nfs"]?.object {
            let server = source["server"]?.string ?? ""
            guard VolumeID.isServer(server) else { throw refused("nfs.server is no server's name or address") }
            return .volume(VolumeID(kind: .nfs, server: server, path: try path(source["path"], "nfs.path")))
        }
        return .foreign("it has no hostPath, local or nfs source")
    }

    private func path(_ value: JSONValue?, _ member: String) throws(VeleroError) -> VolumePath {
        guard let text = value?.string else { throw refused("spec.\(member) is no text") }
        switch VolumePath.parse(text) {
        case .path(let path): return path
        case .refused(let reason):
            throw refused("spec.\(member) \(PathText.display(Array(text.prefix(200).utf8))) \(reason)")
        }
    }

    private func refused(_ what: String) -> VeleroError {
        VeleroError(.invalidArgument, "PersistentVolume \(name) is refused: \(what)")
    }

    /// Whether its node affinity keeps it away from a node. Terms are alternatives, expressions in a term conditions
    /// (the API's NodeSelector); only those on the node's name say something of a node of which nothing else is known.
    func excludes(node: String) -> Bool {
        let terms = object["spec", "nodeAffinity", "required", "nodeSelectorTerms"]?.array ?? []
        guard !terms.isEmpty else { return false }
        return terms.allSatisfy { term in
            let labels = (term["matchExpressions"]?.array ?? []).filter {
                $0["key"]?.string == "kubernetes.io/hostname"
            }
            let fields = (term["matchFields"]?.array ?? []).filter { $0["key"]?.string == "metadata.name" }
            return (labels + fields).contains { expression in
                let values = (expression["values"]?.array ?? []).compactMap(\.string)
                switch expression["operator"]?.string {
                case "In": return !values.contains(node)
                case "NotIn": return values.contains(node)
                case "DoesNotExist": return true
                default: return false
                }
            }
        }
    }

    /// Puts another volume of the same kind in its source; everything else, and so a node affinity, stays. Throws
    /// `invalidArgument` when its source is of another kind.
    mutating func put(_ volume: VolumeID) throws(VeleroError) {
        let member: JSONPath.Element =
            switch volume.kind {
            case .hostPath: "hostPath"
            case .local: "local"
            case .nfs: "nfs"
            }
        guard object["spec", member]?.object != nil else {
            throw VeleroError(
                .invalidArgument,
                "PersistentVolume \(name) has no \(volume.kind.rawValue) source to put \(volume.place) into: restore it with the source that it was backed up with"
            )
        }
        do throws(JSONPathError) {
            try object.set(.string("\(volume.path)"), at: ["spec", member, "path"])
            if volume.kind == .nfs { try object.set(.string(volume.server), at: ["spec", member, "server"]) }
        } catch {
            throw VeleroError(.invalidArgument, "PersistentVolume \(name) cannot be changed: \(error)")
        }
    }

    func serialized() -> [UInt8] { object.serialized() }
}
