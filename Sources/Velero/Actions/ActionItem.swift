internal import Kubernetes

/// Reads the JSON that Velero sends with a call.
package enum ActionItem {
    /// Bytes of an item at most. An object in etcd has 1.5 MiB at most; a server with its own storage may take more. A tree
    /// of them takes several times their bytes, in a container that has 512 MiB for Velero and all plugins.
    ///
    /// Nothing of ours is as large, and an error would keep the item out of the backup: a larger one is not looked at by any
    /// action and goes on as it came.
    package static let maximumBytes = 4 << 20

    /// The object in `bytes`; throws what is wrong with them, and with whose they are, in `what` (`the item`).
    static func object(_ bytes: [UInt8], _ what: String = "the item") throws(VeleroError) -> KubernetesObject {
        let object = try untyped(bytes, what)
        guard !object.kind.isEmpty else {
            throw VeleroError(
                .invalidArgument, "\(what) has no kind, so it is no Kubernetes object; this is a fault of who sent it")
        }
        return object
    }

    /// As above, for what may lack `apiVersion` and `kind`, as Velero's own objects do.
    static func untyped(_ bytes: [UInt8], _ what: String) throws(VeleroError) -> KubernetesObject {
        guard !bytes.isEmpty else {
            throw VeleroError(.invalidArgument, "\(what) is empty; this is a fault of who sent it")
        }
        guard bytes.count <= maximumBytes else {
            throw VeleroError(
                .invalidArgument,
                "\(what) has \(bytes.count) bytes; at most \(maximumBytes) are taken: exclude it from the backup")
        }
        do throws(KubernetesObject.Malformed) {
            return try KubernetesObject(parsing: bytes)
        } catch {
            throw VeleroError(.invalidArgument, "\(what) cannot be read: \(error.message)", cause: error)
        }
    }
}
