internal import Checkpoints
internal import RepositoryFormat
internal import Snapshots
internal import Synchronization

/// Finds out what damage hits: the tensors, and the checkpoints, models and caches.
///
/// What could be saved of a damaged file is put back under the file's name, with zeros for what was lost. If its header
/// is among what was saved, that tells which tensors lay where; else nothing is said of tensors.
struct DrillTrace: Sendable {
    let stage: DrillStage
    /// Tensors of a file that are named.
    private static let mostTensors = 1000

    /// Adds to the report what was damaged, and the survey of what came back: whatever holds a damaged file is torn.
    func trace(_ result: RestoreResult, _ report: inout DrillReport) async throws {
        let notes = result.damaged + result.failed
        let root = String(decoding: stage.tree, as: UTF8.self)
        let tensors = try await InspectionJourney.offload(name: "becalm-drill") { check in
            try notes.map { note -> [String]? in
                try check()
                putBack(note.path)
                guard !note.lost.isEmpty, let tree = try? LocalTree(root) else { return nil }
                return TensorLocator.tensors(in: note.lost, of: note.path, tree: tree, atMost: Self.mostTensors)
            }
        }
        let found = Mutex(DrillFindings())
        try await SurveyJourney(path: stage.tree, isDeep: false).run { event in found.withLock { $0.add(event) } }
        var findings = found.withLock { $0 }
        findings.dropRuns()
        for (note, tensors) in zip(notes, tensors) {
            let index = findings.holder(of: note.path)
            let holder = index.map { findings.checkpoints[$0] }.map {
                DrillReport.Holder(
                    path: TreePath.shown($0.path), kind: $0.kind.rawValue, format: $0.format.rawValue, step: $0.step)
            }
            if let index {
                findings.tear(
                    index, because: Evidence(file: note.path, expected: "the snapshot's bytes", found: note.message))
            }
            report.damaged.append(
                .init(path: note.path, message: note.message, lost: note.lost, tensors: tensors, holder: holder))
        }
        report.findings = findings
    }

    /// Gives what was saved of a file the file's name, unless something has it. A path whose text is not the path itself
    /// is not found, and stays as it is.
    private func putBack(_ path: String) {
        let components = SnapshotTree.components(of: Array(path.utf8))
        guard let name = components.last else { return }
        do {
            var directory = try DirectoryHandle.open(path: stage.tree)
            for component in components.dropLast() { directory = try directory.openDirectory(name: component) }
            let saved = name + Array(".becalm-damaged".utf8)
            guard try directory.type(of: saved) == .regular, try directory.type(of: name) == nil else { return }
            try directory.rename(saved, to: name)
        } catch {
            // Then less is known about it, and the report says so.
            return
        }
    }
}
