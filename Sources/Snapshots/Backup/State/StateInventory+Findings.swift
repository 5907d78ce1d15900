internal import Checkpoints
internal import RepositoryFormat

extension StateInventory.State {
    /// What a manifest keeps of a finding. `root` is the source's name in the snapshot; "" for none.
    init(_ finding: CheckpointFinding, below root: String) {
        let place = { (path: String) in TreePath.join(root, path) }
        self.init(
            path: place(finding.path), kind: finding.kind.rawValue, format: finding.format.rawValue,
            judgement: finding.judgement.rawValue)
        step = finding.step
        bytes = finding.bytes
        modified = finding.modified
        tensors = finding.typeTotals.map {
            .init(dtype: $0.dtype, tensors: UInt64($0.tensors), elements: $0.elements, bytes: $0.bytes)
        }
        if case .files(let paths) = finding.contents { files = paths.prefix(StateInventory.mostPaths).map(place) }
        reasons = (finding.evidence.map(\.description) + finding.doubts).prefix(StateInventory.mostReasons).map { $0 }
        commitMarkers = finding.commitMarkers.prefix(StateInventory.mostPaths).map(place)
        quarantineName = finding.quarantineName
    }
}

extension StateInventory.Run {
    /// What a manifest keeps of a run. `root` is the source's name in the snapshot; "" for none.
    init(_ run: RunFinding, below root: String) {
        let place = { (path: String) in TreePath.join(root, path) }
        self.init(path: place(run.path), format: run.format.rawValue)
        resumesFrom = run.resume.map { place($0.path) }
        step = run.resume?.step
        newestComplete = run.newestComplete.map(place)
        trackers = run.trackers.prefix(StateInventory.mostPaths).map(place)
        warnings = run.warnings.prefix(StateInventory.mostReasons).map(\.message)
    }
}

extension CheckpointFinding {
    /// Whether a backup that is to hold complete checkpoints only cannot hold this one.
    ///
    /// Of a checkpoint of which nothing can be said nobody knows that it is complete.
    var isUnfinished: Bool { judgement == .torn || judgement != .complete && kind == .checkpoint }
}
