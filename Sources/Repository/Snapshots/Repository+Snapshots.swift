internal import Basics
internal import Logging
internal import ObjectStorage
package import RepositoryFormat

/// A snapshot as a listing shows it.
package struct ListedSnapshot: Sendable {
    package let id: Identifier
    package let object: SnapshotObject
    /// Nil with a writer key, which cannot decrypt it.
    package let manifest: SnapshotManifest?

    /// The manifest. Throws `.notPermitted`, in the words of who needs it to do `what`, with a writer key.
    package func manifest(to what: String) throws(RepositoryError) -> SnapshotManifest {
        guard let manifest else { throw RepositoryError(.notPermitted, KeyRole.writer.refusal(.read, to: what)) }
        return manifest
    }
}

/// Snapshots of a repository, and the objects among them that could not be read.
package struct SnapshotListing: Sendable {
    /// Oldest first.
    package var snapshots: [ListedSnapshot] = []
    package var damage: [RepositoryIndex.DamagedObject] = []

    package init() {}
}

extension Repository {
    /// All snapshots, oldest first. Damaged ones are told apart, not thrown. Throws `.storage`, `.newerVersion`.
    package func listSnapshots() async throws(RepositoryError) -> SnapshotListing {
        do {
            var listing = SnapshotListing()
            let objects = try await store.listAll(prefix: ObjectNames.snapshots)
            try await withThrowingTaskGroup(of: Loaded.self) { group in
                var pending = objects.makeIterator()
                func startNext() {
                    guard let object = pending.next() else { return }
                    group.addTask { try await self.load(object.key) }
                }
                for _ in 0..<max(1, options.connections) { startNext() }
                while let loaded = try await group.next() {
                    switch loaded {
                    case .snapshot(let snapshot): listing.snapshots.append(snapshot)
                    case .damaged(let damage): listing.damage.append(damage)
                    case .gone: break
                    }
                    startNext()
                }
            }
            listing.snapshots.sort { Self.order($0) < Self.order($1) }
            listing.damage.sort { $0.object < $1.object }
            return listing
        } catch {
            throw RepositoryError(error, doing: "cannot list the snapshots")
        }
    }

    private static func order(_ snapshot: ListedSnapshot) -> (Int64, UInt64, Identifier) {
        (snapshot.manifest?.timeNanoseconds ?? 0, snapshot.object.chain.counter, snapshot.id)
    }

    private enum Loaded: Sendable {
        case snapshot(ListedSnapshot)
        case damaged(RepositoryIndex.DamagedObject)
        case gone
    }

    private func load(_ key: String) async throws -> Loaded {
        guard let id = ObjectNames.identifier(of: key, under: ObjectNames.snapshots) else {
            return .damaged(.init(object: key, message: "\(key) is no snapshot's name: somebody put it there"))
        }
        do {
            return .snapshot(try await loadSnapshot(id))
        } catch {
            if error.isMissingObject { return .gone }
            guard error.code == .damaged else { throw error }
            return .damaged(.init(object: key, message: error.message))
        }
    }

    /// One snapshot. Throws `.storage` (with a `.notFound` cause), `.damaged`.
    package func loadSnapshot(_ id: Identifier) async throws(RepositoryError) -> ListedSnapshot {
        do {
            let bytes = try await store.get(ObjectNames.snapshot(id), maximumBytes: SnapshotObject.maximumBytes)
            let object = try SnapshotObject(id: id, decoding: bytes, keyring: keyring)
            let manifest = keyring.role.can(.read) ? try object.manifest(keyring: keyring) : nil
            return ListedSnapshot(id: id, object: object, manifest: manifest)
        } catch let error as ObjectStorageError where error.code == .tooLarge {
            throw RepositoryError(.damaged, "snapshot \(id) is impossibly large", cause: error)
        } catch {
            throw RepositoryError(error, doing: "snapshot \(id)")
        }
    }

    /// Throws `.damaged` when a snapshot that cannot be read was stored after `last`: nobody knows what it is, and to take
    /// an older one for the latest would be to lose it silently.
    private func refuseNewerDamage(
        _ listing: SnapshotListing, than last: ListedSnapshot, _ name: String
    ) async throws(RepositoryError) {
        guard !listing.damage.isEmpty else { return }
        do {
            let stored = try await store.head(ObjectNames.snapshot(last.id)).modified
            for damage in listing.damage
            where ObjectNames.identifier(of: damage.object, under: ObjectNames.snapshots) != nil {
                do {
                    guard try await store.head(damage.object).modified >= stored else { continue }
                } catch {
                    guard error.code == .notFound else { throw error }
                    continue
                }
                throw RepositoryError(
                    .damaged,
                    "'\(name)' may be a snapshot that cannot be read (\(damage.message)): name one by its id, the newest that can be read is \(last.id.description.prefix(12))"
                )
            }
        } catch {
            throw RepositoryError(error, doing: "cannot find '\(name)'")
        }
    }

    /// The snapshot that `name` means: `latest`, `latest:SOURCE` (a path, or the last component of one; NAMESPACE/CLAIM,
    /// which is the host of what movers store, whose paths are all alike), or the beginning of an id. Throws `.noSuchName`,
    /// `.ambiguous` (also for a last component of several paths: the newest of them may be somebody else's), and `.damaged`
    /// when what is meant cannot be read.
    package func findSnapshot(_ name: String) async throws(RepositoryError) -> ListedSnapshot {
        try await findSnapshot(name, in: try await listSnapshots())
    }

    /// As `findSnapshot(_:)`, in a listing that is there already.
    package func findSnapshot(
        _ name: String, in listing: SnapshotListing
    ) async throws(RepositoryError) -> ListedSnapshot {
        if name == "latest" || name.hasPrefix("latest:") {
            // One that holds a share of the files is no state of its source.
            let whole = listing.snapshots.filter { $0.manifest?.shard == nil }
            let matching = name == "latest" ? whole : try Self.snapshots(of: name.dropFirst("latest:".count), in: whole)
            guard let last = matching.last else {
                let damaged =
                    listing.damage.isEmpty
                    ? "" : " (\(listing.damage.count) damaged left out: 'becalm verify' names what is)"
                throw RepositoryError(
                    listing.damage.isEmpty ? .noSuchName : .damaged,
                    "no snapshot fits '\(name)' in \(store.location)\(damaged): 'becalm snapshots' lists them")
            }
            try await refuseNewerDamage(listing, than: last, name)
            return last
        }
        let matching = listing.snapshots.filter { !name.isEmpty && $0.id.description.hasPrefix(name.lowercased()) }
        if let only = matching.first, matching.count == 1 { return only }
        if matching.isEmpty,
            let damaged = listing.damage.first(where: { $0.object.hasPrefix(ObjectNames.snapshots + name) })
        {
            throw RepositoryError(.damaged, damaged.message)
        }
        throw RepositoryError(
            matching.isEmpty ? .noSuchName : .ambiguous,
            matching.isEmpty
                ? "no snapshot's id begins with '\(name)': 'becalm snapshots' lists them"
                : "'\(name)' begins \(matching.count) snapshots' ids: give more of it")
    }

    /// Those of a source, by its whole path or its movers' host, else by the last component of the only path that has it.
    private static func snapshots(
        of source: Substring, in listed: [ListedSnapshot]
    ) throws(RepositoryError) -> [ListedSnapshot] {
        let named = listed.filter { listed in
            guard let manifest = listed.manifest else { return false }
            return manifest.paths.contains(String(source)) || source.contains("/") && manifest.host == source
        }
        guard named.isEmpty else { return named }
        var paths: Set<String> = []
        let matching = listed.filter { listed in
            let fitting = (listed.manifest?.paths ?? []).filter { $0.split(separator: "/").last == source }
            paths.formUnion(fitting)
            return !fitting.isEmpty
        }
        guard paths.count <= 1 else {
            let some = paths.sorted().prefix(3).map { "latest:\($0)" }.joined(separator: ", ")
            throw RepositoryError(
                .ambiguous, "'latest:\(source)' fits \(paths.count) sources: name one whole, as in \(some)")
        }
        return matching
    }

    /// The newest link of the chain `source`, whatever the role.
    package func chainEnd(_ listing: SnapshotListing, source: SnapshotChain) -> ListedSnapshot? {
        listing.snapshots.filter { $0.object.chain.source == source.source }.max {
            $0.object.chain.counter < $1.object.chain.counter
        }
    }
}
