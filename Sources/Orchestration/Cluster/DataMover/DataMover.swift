package import Kubernetes

/// Velero's data mover by Becalm: the names by which it, Velero and the cluster know each other.
///
/// Velero's side of it is the DataUpload and the DataDownload (velero.io/v2alpha1), one of each for a volume whose snapshot's
/// data is to be moved; who moves it is named by `spec.datamover`.
package enum DataMover {
    /// What users give to `velero backup create --data-mover`.
    package static let name = "becalm"
    /// The Lease by which one of several controllers leads.
    package static let lockName = "becalm-data-mover"
    /// Velero's convention: an object with it is being worked on, or has something left to be removed.
    static let finalizer = "velero.io/data-upload-download-finalizer"
    /// A label on what is made for a transfer, with its run: copies of snapshots, claims, volumes.
    static let label = "becalm.io/data-mover"
    /// On the same: `DataUpload/NAMESPACE/NAME/UID`.
    static let transferAnnotation = "becalm.io/transfer"
    /// On the copy of a snapshot's content: the content that it was made from, which goes.
    static let sourceAnnotation = "becalm.io/source-content"
    /// On the same: bytes that a volume made from it needs, as a quantity.
    static let sizeAnnotation = "becalm.io/restore-size"
    /// On a volume that is handed over: the reclaim policy that it gets back.
    static let policyAnnotation = "becalm.io/reclaim-policy"

    /// What a DataUpload of ours says that its data is; nil for one that is not ours, or has stored nothing.
    package static func snapshot(ofUpload object: KubernetesObject) -> String? {
        guard object.group == "velero.io", object.kind == Transfer.Kind.upload.rawValue,
            object["spec", "datamover"]?.string == name, let text = object["status", "snapshotID"]?.string,
            !text.isEmpty
        else { return nil }
        return text
    }
}
