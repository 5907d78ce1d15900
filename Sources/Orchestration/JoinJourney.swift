package import Repository
internal import RepositoryFormat
package import Snapshots

/// Makes one snapshot of several, such as the volumes of a workload, or shards of one volume.
package struct JoinJourney: Sendable {
    private let repository: Repository
    private let request: JoinRequest
    private let progress: OperationProgress

    package init(repository: Repository, request: JoinRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Runs it. The parts stay as they are; the joined snapshot needs none of them. Throws `target_exists` where parts have
    /// different files at one path, and `not_found` where a part is not there.
    package func run() async throws(JourneyError) -> JoinResult {
        try await JourneyError.mapping {
            try await JoinOperation(repository: repository, request: request, progress: progress).run()
        }
    }

    /// Forgets the parts of a joined snapshot, which has taken their place; one that is gone is no error. May be run again.
    ///
    /// A part that is the joined snapshot's predecessor is recorded as forgotten like any other: the chain stays whole. With
    /// `tag`, whatever else has that goes, too: a part that was stored twice, by a pod that was taken away before anybody heard
    /// of its end, and by its successor.
    package func forgetParts(of result: JoinResult, tagged tag: String? = nil) async throws(JourneyError)
        -> ForgetReport
    {
        try await JourneyError.mapping {
            var parts = result.parts
            if let tag {
                parts += try await repository.listSnapshots().snapshots.filter { listed in
                    listed.manifest?.tags.contains(tag) == true && listed.id != result.snapshot
                        && !result.parts.contains(listed.id)
                }.map(\.id)
            }
            return try await repository.forget(parts)
        }
    }
}
