package import Basics
internal import Logging
internal import ObjectStorage
package import RepositoryFormat
internal import Sealing

/// A snapshot that was committed.
package struct CommittedSnapshot: Sendable {
    package let id: Identifier
    /// The store's time of the commit.
    package let date: Timestamp
}

extension WriteSession {
    /// Publishes the snapshot: the commit point. Call after `finish`.
    ///
    /// The order of Format.md, "Commit": look at what is condemned; create the manifest if absent; then look again and
    /// at the packs themselves. A snapshot whose packs were collected under it is withdrawn, and the call throws
    /// `.collectedMeanwhile`: the index now counts those packs as absent, and a new pass stores their chunks anew.
    package func commit(
        _ manifest: SnapshotManifest, chain: SnapshotChain
    ) async throws(RepositoryError) -> CommittedSnapshot {
        try check()
        do {
            try await refuseCondemned(try await repository.loadCondemned().packs)
            try await extendRetention()
            let id = try Identifier.random()
            let bytes = try SnapshotObject.encode(
                id: id, chain: chain, manifest: manifest, session: header, sessionKey: key, keyring: repository.keyring)
            let store = repository.store
            let options = PutOptions(
                condition: store.capabilities.createIfAbsent ? .ifAbsent : .none,
                retention: repository.retention(from: heartbeat.serverTime()))
            let receipt = try await store.put(ObjectNames.snapshot(id), bytes: bytes, options: options)
            do {
                // From here on a collector that marks sees this snapshot; what it condemned before, we see now.
                try await refuseCondemned(try await repository.loadCondemned().packs)
                try await refuseMissing()
            } catch let error as RepositoryError where error.code == .collectedMeanwhile {
                await withdraw(id, digest: SHA256State.digest(of: bytes), chain)
                throw error
            }
            await heartbeat.end()
            return CommittedSnapshot(id: id, date: receipt.date)
        } catch {
            throw RepositoryError(error, doing: "cannot commit the snapshot")
        }
    }

    private func refuseCondemned(_ condemned: Set<Identifier>) async throws {
        index.setCondemned(condemned)
        let lost = reliedPacks.intersection(condemned)
        guard lost.isEmpty else { throw collected(lost) }
    }

    /// Every pack relied on must be there: few are asked for by name, many by listing.
    private func refuseMissing() async throws {
        let relied = reliedPacks
        guard !relied.isEmpty else { return }
        let known = index.allPacks()
        var missing = Set<Identifier>()
        if relied.count <= 32 {
            for id in relied {
                let kind = known[id]?.kind ?? .data
                do {
                    _ = try await repository.store.head(ObjectNames.pack(id, kind))
                } catch {
                    guard error.code == .notFound else { throw error }
                    missing.insert(id)
                }
            }
        } else {
            var present = Set<Identifier>()
            for kind in ChunkKind.allCases {
                for object in try await repository.store.listAll(prefix: kind.packPrefix) {
                    if let pack = ObjectNames.parsePack(object.key) { present.insert(pack.id) }
                }
            }
            missing = relied.subtracting(present)
        }
        guard missing.isEmpty else {
            index.markMissing(missing)
            throw collected(missing)
        }
    }

    private func collected(_ packs: Set<Identifier>) -> RepositoryError {
        RepositoryError(
            .collectedMeanwhile,
            "while this snapshot was made, \(counted(packs.count, "pack")) that it relies on went with a collection (the first is \(packs.min()?.description ?? "")): its chunks are stored anew"
        )
    }

    /// Takes a snapshot back that must not be restored from, with a record of it, for another writer may have followed it
    /// already.
    private func withdraw(_ id: Identifier, digest: Digest, _ chain: SnapshotChain) async {
        do {
            try await repository.putForgotten(
                ForgottenRecord(
                    snapshots: [.init(id: id, digest: digest, source: chain.source, counter: chain.counter)]))
            try await repository.store.delete(ObjectNames.snapshot(id), ifTag: nil)
        } catch {
            repository.options.logger.error(
                "snapshot \(id) is incomplete and cannot be removed: do not restore from it, remove it with 'becalm forget \(id)': \(error)"
            )
        }
    }

    /// Keeps packs of others that this snapshot re-uses as long as its own objects, where retention is on.
    private func extendRetention() async throws {
        guard let retention = repository.retention(from: heartbeat.serverTime()) else { return }
        let known = index.allPacks()
        var extended: [IndexedPack] = []
        for id in reusedPacks {
            guard var pack = known[id], pack.retainedUntil < retention.until else { continue }
            try await repository.store.extendRetention(ObjectNames.pack(id, pack.kind), retention)
            pack.retainedUntil = retention.until
            extended.append(pack)
        }
        guard !extended.isEmpty else { return }
        // A segment without entries records how long they are kept now.
        try await repository.putSegment(
            IndexSegmentLayout.encode(packs: extended, entries: []), id: try Identifier.random())
    }
}
