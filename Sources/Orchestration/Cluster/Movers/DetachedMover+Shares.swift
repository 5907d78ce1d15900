internal import Basics
internal import Kubernetes
package import Repository
internal import RepositoryFormat
internal import Snapshots

extension DetachedMover {
    /// How several movers that share a volume stand; what each came to is written down where it is seen first, for its pod
    /// may be gone when the last one ends.
    func standing(
        of shares: DetachedShares, _ lease: KubernetesObject, _ since: Timestamp?, _ now: Timestamp
    ) async throws(KubernetesError) -> Standing {
        if let failure = shares.failure { return try await end(failure, lease) }
        if !shares.news.isEmpty || !shares.running.isEmpty {
            try await note(lease) { lease in
                for (index, result) in shares.news {
                    let text = result.text(maximumBytes: MoverResult.maximumShareBytes)
                    lease.setAnnotation(
                        MoverJob.resultAnnotation(index: index), String(decoding: text, as: UTF8.self))
                }
            }
        }
        if let results = shares.results { return .stored(results) }
        var reason = shares.obstacle
        if reason.isEmpty, shares.running.isEmpty {
            reason = await events.obstacle(job: shares.job, pods: shares.pods)
        }
        if MoverStanding.hopeless.contains(where: { reason.hasPrefix($0) }) {
            return try await end(Self.failure(reason), lease)
        }
        let running = shares.running
        guard running.isEmpty else {
            var said: [MoverProgress] = []
            for pod in running { said.append(await self.said(pod)) }
            for case .ended(let result) in shares.standings {
                var done = MoverProgress()
                (done.files, done.filesTotal) = (result.files, result.files)
                (done.bytes, done.bytesTotal) = (result.bytes, result.bytes)
                said.append(done)
            }
            return .running(MoverProgress(sum: said), node: "", since: since)
        }
        if !shares.hasEnded, let late = Self.late(lease, shares.pods, since, now, reason) {
            return try await end(late, lease)
        }
        return .waiting(reason, since: since)
    }

    /// Makes one snapshot of the shares that `standing` says are stored, and ends the run with it. May be called again after
    /// any other process died in the middle of it: a snapshot that is there already is taken. Nil where the run is gone, or
    /// has ended otherwise meanwhile, as `standing` says then.
    package func join(_ shares: [MoverResult], in repository: Repository) async throws -> Ending? {
        let tag = MoverJob.partTag(run: run)
        let listed = try await repository.listSnapshots().snapshots
        let known = listed.first { $0.manifest?.shard == nil && $0.manifest?.tags.contains(tag) == true }
        let manifest: SnapshotManifest
        var result = MoverResult(shares.contains { $0.status == .partial } ? .partial : .done)
        if let known, let there = known.manifest {
            manifest = there
            result.snapshot = "\(known.id)"
        } else {
            let place = [Array(MoverJob.volumeName.utf8)]
            var parts: [JoinPart] = []
            for share in shares {
                parts.append(
                    JoinPart(
                        snapshot: try await repository.findSnapshot(share.snapshot).id, from: place, place: place))
            }
            let first = try await repository.findSnapshot(shares[0].snapshot).manifest
            let request = JoinRequest(
                parts: parts, host: first?.host ?? "", user: first?.user ?? "", paths: first?.paths ?? [],
                tags: first?.tags ?? [tag], program: Version.program)
            let joined = try await JoinJourney(repository: repository, request: request, progress: OperationProgress())
                .run()
            manifest = joined.manifest
            result.snapshot = "\(joined.snapshot)"
        }
        if !manifest.problems.isEmpty { result.status = .partial }
        result.contentDigest = manifest.contentDigest ?? ""
        (result.files, result.bytes) = (manifest.totals.files, manifest.totals.bytes)
        for share in shares {
            result.bytesNew = result.bytesNew.addingUpToMaximum(share.bytesNew)
            result.bytesStored = result.bytesStored.addingUpToMaximum(share.bytesStored)
            result.problems = result.problems.addingUpToMaximum(share.problems)
            result.remarks += share.remarks
        }
        // The same may be said by each.
        var seen: Set<String> = []
        result.remarks = result.remarks.filter { seen.insert($0).inserted }
        guard let lease = try await lease.read().lease, case .ended(let ending) = try await end(result, lease) else {
            return nil
        }
        return ending
    }
}
