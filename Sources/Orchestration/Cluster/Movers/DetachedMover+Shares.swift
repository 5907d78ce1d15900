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
        if !shares.news.isEmpty { try await write(shares.news, lease) }
        if let results = shares.results { return .stored(results) }
        let reason = shares.obstacle
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
        if let limit = MoverLease.startSeconds(lease), let since, now - since > Double(limit), !shares.hasBegun {
            let words = reason.isEmpty ? "" : ": \(reason)"
            return try await end(Self.failure("it has not begun within \(limit) s\(words)"), lease)
        }
        return .waiting(reason, since: since)
    }

    /// Writes down what some shares came to; who finds the Lease changed meanwhile leaves it to the next call.
    private func write(_ results: [Int: MoverResult], _ lease: KubernetesObject) async throws(KubernetesError) {
        var changed = lease
        for (index, result) in results {
            let text = String(decoding: result.text(maximumBytes: MoverResult.maximumShareBytes), as: UTF8.self)
            changed.setAnnotation(MoverJob.resultAnnotation(index: index), text)
        }
        do throws(KubernetesError) {
            _ = try await client.update(.leases, changed)
        } catch {
            guard error.code == .conflict else { throw error }
        }
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
            result.bytesNew += share.bytesNew
            result.bytesStored += share.bytesStored
            result.problems += share.problems
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
