internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Sealing

/// What can be said by listing and by reading small objects.
extension VerifyRun {
    // MARK: Config and keys

    /// The config and its copy, the key table and its copy.
    mutating func checkHead() async throws {
        let expected = repository.config.encoded()
        for name in [ObjectNames.config, ObjectNames.configCopy] {
            let bytes = try await read(name, maximumBytes: 64 << 10)
            guard bytes != expected else { continue }
            let what = bytes == nil ? "is missing" : "is not what this repository was made with"
            add(
                VerifyProblem(
                    object: name, kind: .config,
                    message: "\(name) \(what): the other copy serves; 'becalm prune' puts a missing one in its place"))
        }
        let table = repository.keyTable.encoded()
        let generation = repository.keyTable.generation
        // A change of keys stores the new table, then its copy, then removes those of before.
        var isChanging = false
        if generation > 1 {
            isChanging = try await read(ObjectNames.keyTableCopy(generation - 1), maximumBytes: 64 << 20) != nil
        }
        for name in [ObjectNames.keyTable(generation), ObjectNames.keyTableCopy(generation)] {
            let bytes = try await read(name, maximumBytes: 64 << 20)
            guard bytes != table else { continue }
            let what = bytes == nil ? "is missing" : "is not the key table that was opened"
            let isInterrupted = bytes == nil && isChanging && name == ObjectNames.keyTableCopy(generation)
            add(
                VerifyProblem(
                    object: name, kind: .keys,
                    message: isInterrupted
                        ? "\(name) is missing: a change of keys was interrupted, 'becalm prune' finishes it"
                        : "\(name) \(what): the other copy serves; 'becalm prune' puts a missing one in its place",
                    isHarmless: isInterrupted))
        }
    }

    /// A small object, or nil when there is none; one that is too large reads as empty.
    private func read(_ name: String, maximumBytes: Int) async throws -> [UInt8]? {
        do {
            return try await repository.store.get(name, maximumBytes: maximumBytes)
        } catch {
            if error.code == .tooLarge { return [] }
            guard error.code == .notFound else { throw error }
            return nil
        }
    }

    // MARK: Packs and segments

    mutating func checkPacks(_ survey: RepositorySurvey) {
        for damage in survey.damagedSegments {
            add(
                VerifyProblem(
                    object: damage.object, kind: .segment,
                    message: "\(damage.message): the packs' own lists serve meanwhile, rebuild the index"))
        }
        let condemned = survey.condemned
        let recovered = Set((survey.recovered?.packs ?? []).map(\.id))
        for (id, pack) in survey.indexed {
            let name = ObjectNames.pack(id, pack.kind)
            guard let listed = survey.packs[id] else {
                let isExpected = condemned.contains(id)
                add(
                    VerifyProblem(
                        object: name, kind: .pack,
                        message: isExpected
                            ? "\(name) was condemned and is gone, the index still names it: a prune was interrupted, run it again"
                            : "\(name) is missing: restore the object from a copy of the store, or back up again what it held",
                        isHarmless: isExpected))
                continue
            }
            if listed.kind != pack.kind {
                add(VerifyProblem(object: name, kind: .pack, message: "\(name) lies among the packs of the other kind"))
            } else if listed.size != pack.bytes {
                if listed.size < pack.bytes { shortened.insert(id) }
                add(
                    VerifyProblem(
                        object: name, kind: .pack,
                        message: "\(name) has \(listed.size) bytes, the index says \(pack.bytes)"))
            }
            if recovered.contains(id), !condemned.contains(id) {
                add(
                    VerifyProblem(
                        object: name, kind: .pack,
                        message:
                            "\(name) is in no index segment: a backup is at work or was interrupted, or the index lost it",
                        isHarmless: true))
            }
        }
        for (id, error) in survey.unreadable {
            let kind = survey.packs[id]?.kind ?? .data
            add(VerifyProblem(object: ObjectNames.pack(id, kind), kind: .pack, message: error.message))
        }
    }

    // MARK: Records

    /// Snapshots, condemned and forgotten records, journals.
    mutating func checkRecords(_ survey: RepositorySurvey) async throws {
        for damage in survey.snapshots.damage
        where options.snapshot.map({ damage.object == ObjectNames.snapshot($0) }) ?? true {
            var problem = VerifyProblem(
                object: damage.object, kind: .snapshot,
                message: "\(damage.message): restore the object from a copy, or remove it with 'becalm forget'")
            if let id = ObjectNames.identifier(of: damage.object, under: ObjectNames.snapshots) {
                problem.snapshots = [id]
            }
            add(problem)
        }
        for damage in survey.damagedRecords {
            add(
                VerifyProblem(
                    object: damage.object, kind: .condemned,
                    message: "\(damage.message): a prune looks at its packs anew"))
        }
        for object in survey.others where object.key.hasPrefix(ObjectNames.journals) {
            guard let bytes = try await read(object.key, maximumBytes: 64 << 20) else { continue }
            do {
                _ = try JournalRecord(decoding: bytes, name: object.key, keyring: repository.keyring)
            } catch {
                add(
                    VerifyProblem(
                        object: object.key, kind: .journal,
                        message: "\(error.message): the next backup does without it"))
            }
        }
    }

    // MARK: Chains

    /// Every snapshot's predecessor must be there as it was, or have been forgotten on purpose. Two snapshots may follow
    /// the same one: writers run side by side.
    mutating func checkChains(_ survey: RepositorySurvey) async throws {
        let (records, damage) = try await repository.loadForgotten()
        for damaged in damage {
            add(
                VerifyProblem(
                    object: damaged.object, kind: .forgotten,
                    message: "\(damaged.message): snapshots that it names will be reported as missing"
                ))
        }
        var forgotten: [Identifier: ForgottenRecord.Snapshot] = [:]
        for snapshot in records.values.flatMap(\.snapshots) { forgotten[snapshot.id] = snapshot }
        let present = Dictionary(
            survey.snapshots.snapshots.map { ($0.id, $0.object) }, uniquingKeysWith: { first, _ in first })
        let unreadable = Set(survey.snapshots.damage.map(\.object))
        for snapshot in survey.snapshots.snapshots where options.snapshot == nil || options.snapshot == snapshot.id {
            let chain = snapshot.object.chain
            let name = ObjectNames.snapshot(snapshot.id)
            guard let predecessor = chain.predecessor else {
                if chain.counter > 1 {
                    add(
                        chainProblem(
                            name,
                            "snapshot \(snapshot.id) is number \(chain.counter) of its source and names none before it")
                    )
                }
                continue
            }
            let before: (digest: Digest, counter: UInt64)
            if let object = present[predecessor.id] {
                before = (object.digest, object.chain.counter)
            } else if let record = forgotten[predecessor.id] {
                // A snapshot that was damaged when it was forgotten has no number on record.
                if record.counter == 0 { continue }
                before = (record.digest, record.counter)
            } else {
                if unreadable.contains(ObjectNames.snapshot(predecessor.id)) { continue }
                add(
                    chainProblem(
                        ObjectNames.snapshot(predecessor.id),
                        "snapshot \(predecessor.id) is missing: it was removed without 'becalm forget', or the store was rolled back (snapshot \(snapshot.id) follows it)"
                    ))
                continue
            }
            if before.digest != predecessor.digest {
                add(
                    chainProblem(
                        ObjectNames.snapshot(predecessor.id),
                        "snapshot \(predecessor.id) is not the one that snapshot \(snapshot.id) follows: it was replaced"
                    ))
            } else if before.counter + 1 != chain.counter {
                add(
                    chainProblem(
                        name, "snapshot \(snapshot.id) has number \(chain.counter) and follows number \(before.counter)"
                    ))
            }
        }
    }

    private func chainProblem(_ object: String, _ message: String) -> VerifyProblem {
        VerifyProblem(object: object, kind: .snapshot, message: "\(message): look who can write to the store")
    }

    // MARK: Everything else

    /// Objects that have no business here. They harm nobody, but somebody put them there.
    mutating func checkOthers(_ survey: RepositorySurvey) {
        for object in survey.others where !isOurs(object.key) {
            add(
                VerifyProblem(
                    object: object.key, kind: .other, message: "\(object.key) is no object of a repository",
                    isHarmless: true))
        }
        for object in survey.others {
            guard let generation = ObjectNames.generation(of: object.key), isKeyTable(object.key),
                generation < repository.keyTable.generation
            else { continue }
            add(
                VerifyProblem(
                    object: object.key, kind: .keys,
                    message:
                        "\(object.key) is an old key table: a change of keys was interrupted, its slots may still open",
                    isHarmless: true))
        }
    }

    private func isKeyTable(_ key: String) -> Bool {
        key.hasPrefix(ObjectNames.keyTables) || key.hasPrefix(ObjectNames.keyTableCopies)
    }

    private func isOurs(_ key: String) -> Bool {
        if [ObjectNames.config, ObjectNames.configCopy, ObjectNames.collectorClaim].contains(key) { return true }
        if isKeyTable(key) {
            return ObjectNames.generation(of: key).map {
                key == ObjectNames.keyTable($0) || key == ObjectNames.keyTableCopy($0)
            } ?? false
        }
        // A probe that was interrupted leaves its trial objects; the next one takes other names.
        if key.hasPrefix(ObjectNames.journals) || key.hasPrefix("probe/") { return true }
        // Wrong names among the snapshots are told with them.
        if key.hasPrefix(ObjectNames.snapshots) { return true }
        return [ObjectNames.segments, ObjectNames.forgotten, ObjectNames.condemned, ObjectNames.sessions].contains {
            ObjectNames.identifier(of: key, under: $0)?.description == key.dropFirst($0.count).description
        }
    }
}
