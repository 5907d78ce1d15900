import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Synchronization
import Testing

/// Interrupted and concurrent collections.
@Suite struct CollectorRaceTests {
    static func files(_ number: Int) -> Files {
        var files: Files = ["common": bytes(30_000, seed: 5)]
        for part in 0..<4 { files["d\(number)/\(part)"] = bytes(20_000, seed: UInt64(number * 10 + part)) }
        return files
    }

    /// A repository with dead, sparse, condemned and orphaned packs, and what must stay readable in it.
    static func scene() async throws -> (TestRepository, [Identifier: Files]) {
        let test = try await TestRepository.create(graceSeconds: 1000)
        var kept: [Identifier: Files] = [:]
        var gone: [Identifier] = []
        for number in 0..<5 {
            let files = Self.files(number)
            let id = try await test.repository.snapshot(files)
            if number % 2 == 0 { gone.append(id) } else { kept[id] = files }
        }
        _ = try await test.repository.forget(gone)
        test.clock.advance(bySeconds: 2000)
        // Condemns dead packs and repacks the first, whose only living file is the common one.
        _ = try await Collector(repository: test.repository).prune()
        let orphan = try await test.repository.prepare(["o": bytes(50_000, seed: 99)])
        await orphan.session.abandon()
        let sparse = try await test.repository.snapshot(
            ["x": bytes(90_000, seed: 50), "y": bytes(4000, seed: 51)], host: "sparse")
        let rest: Files = ["y": bytes(4000, seed: 51)]
        kept[try await test.repository.snapshot(rest, host: "sparse")] = rest
        _ = try await test.repository.forget([sparse])
        // A snapshot that slipped through: what it relies on is condemned.
        let before = try await test.packs()
        let late = Self.files(6)
        kept[try await test.repository.snapshot(late, host: "late")] = late
        try await test.condemn(try await test.packs().subtracting(before))
        test.clock.advance(bySeconds: 5000)
        return (test, kept)
    }

    static func expectAllReadable(_ test: TestRepository, _ kept: [Identifier: Files], _ comment: Comment) async throws
    {
        let repository = try await test.reopened(store: test.memory)
        #expect(Set(try await repository.listSnapshots().snapshots.map(\.id)) == Set(kept.keys), comment)
        for (id, files) in kept { #expect(try await repository.files(of: id) == files, comment) }
    }

    @Test func theSceneHasWorkForEveryPhase() async throws {
        let (test, kept) = try await Self.scene()
        #expect(kept.count == 4)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsDeleted > 0 && report.chunksRescued > 0 && report.packsRepacked > 0)
        #expect(report.packsCondemned > 0 && report.segmentsRemoved > 0)
        try await Self.expectAllReadable(test, kept, "after one run")
    }

    /// The machine dies at the k-th change, which may or may not have taken effect.
    @Test(arguments: [true, false], [nil, 0] as [UInt64?])
    func aCrashAtAnyChangeLeavesEverythingReadable(takingEffect: Bool, grace: UInt64?) async throws {
        let options = PruneOptions(graceSeconds: grace)
        var k = 1
        while true {
            let (test, kept) = try await Self.scene()
            let comment: Comment = "crash at change \(k), taking effect: \(takingEffect), grace: \(grace ?? 1000)"
            test.store.crash(atMutation: test.store.mutations + k, takingEffect: takingEffect)
            let outcome = await code { _ = try await Collector(repository: test.repository).prune(options) }
            let hasCrashed = test.store.hasCrashed
            test.store.heal()
            try await Self.expectAllReadable(test, kept, comment)
            // Others find a damaged state in no case, and a second run brings it to its end.
            test.clock.advance(bySeconds: 2000)
            let repository = try await test.reopened()
            let report = try await Verifier(repository: repository).verify(.init(depth: .full) { "\($0)" })
            #expect(report.isSound, comment)
            for _ in 0..<2 {
                let again = try await Collector(repository: repository).prune(options)
                #expect(again.findings.filter { !$0.object.hasPrefix("sessions/") }.isEmpty, comment)
                test.clock.advance(bySeconds: 2000)
            }
            let last = try await Collector(repository: repository).prune(options)
            #expect(last.packsCondemned == 0 && last.packsWaiting == 0, comment)
            try await Self.expectAllReadable(test, kept, comment)
            #expect(try await test.names("condemned/").isEmpty, comment)
            guard hasCrashed else {
                #expect(outcome == nil)
                #expect(k > 10)
                return
            }
            k += 1
        }
    }

    /// Just before one of the calls of one collector, another one runs from beginning to end.
    @Test(arguments: [nil, 0] as [UInt64?])
    func aSecondCollectorMayRunAtAnyMoment(grace: UInt64?) async throws {
        let options = PruneOptions(graceSeconds: grace)
        // Every third call, beginning with another one in each run of the test.
        var k = Int.random(in: 1...3)
        while true {
            let (test, kept) = try await Self.scene()
            let other = try await test.reopened(store: test.memory)
            _ = try await test.reopened(store: test.store)
            let opened = test.store.operations
            let intruder = Intruder(test.store, at: .beforeCall(opened + k)) {
                // The claim is only a courtesy: without it both run.
                try await test.memory.delete(ObjectNames.collectorClaim, ifTag: nil)
                _ = try await Collector(repository: other).prune(options)
            }
            let repository = try await Repository.open(
                store: intruder, credential: TestRepository.key, options: TestRepository.options(test.clock))
            let outcome = await code { _ = try await Collector(repository: repository).prune(options) }
            let comment: Comment = "second collector before call \(k), grace \(grace ?? 1000)"
            #expect(outcome == nil || outcome == .busy || outcome == .storage, comment)
            #expect(intruder.failure.withLock { $0 } == nil, comment)
            try await Self.expectAllReadable(test, kept, comment)
            let report = try await Verifier(repository: other).verify(.init(depth: .full) { "\($0)" })
            #expect(report.isSound, comment)
            guard intruder.hasRun.withLock({ $0 }) else {
                #expect(k > 50)
                return
            }
            k += 3
        }
    }

    /// Before each call of a writer, a collector without grace runs: whatever is committed can be read.
    @Test func aCollectorMayRunAtAnyMomentOfAWriter() async throws {
        var k = 1
        var commits = 0
        var refusals = 0
        while true {
            let (test, _) = try await Self.scene()
            let other = try await test.reopened(store: test.memory)
            let intruder = Intruder(test.store, at: .beforeCall(test.store.operations + k)) {
                _ = try await Collector(repository: other).prune(PruneOptions(graceSeconds: 0))
            }
            let writer = try await Repository.open(
                store: intruder, credential: TestRepository.key, options: TestRepository.options(test.clock))
            // Content of a snapshot that is gone, in packs that are there, and something new.
            var files = Self.files(2)
            files["new"] = bytes(10_000, seed: 1234)
            do {
                let id = try await writer.snapshot(files, host: "writer")
                commits += 1
                #expect(try await other.files(of: id) == files, "collector before call \(k)")
            } catch let error as RepositoryError {
                #expect(error.code == .collectedMeanwhile, "collector before call \(k)")
                refusals += 1
            }
            #expect(intruder.failure.withLock { $0 } == nil, "collector before call \(k)")
            let report = try await Verifier(repository: other).verify(.init(depth: .full) { "\($0)" })
            #expect(report.isSound, "collector before call \(k): \(report.problems.filter { !$0.isHarmless })")
            guard intruder.hasRun.withLock({ $0 }) else { break }
            k += 1
        }
        #expect(commits > 1 && refusals > 0)
    }

    /// Packs go before the segments that name them, and records last: else writers would rely on what is gone.
    @Test func thingsAreRemovedInTheRightOrder() async throws {
        let (test, _) = try await Self.scene()
        let recorder = RecordingObjectStore(test.memory)
        let repository = try await test.reopened(store: recorder)
        recorder.reset()
        let report = try await Collector(repository: repository).prune()
        #expect(report.packsDeleted > 0 && report.segmentsRemoved > 0 && report.chunksRescued > 0)
        let changes = recorder.requests.enumerated().filter { $1.operation == .put || $1.operation == .delete }
        func positions(_ operation: StoreRequest.Operation, _ prefixes: [String]) -> [Int] {
            changes.filter { change in
                change.element.operation == operation && prefixes.contains { change.element.key.hasPrefix($0) }
            }.map(\.offset)
        }
        let packs = positions(.delete, ["data/", "tree/"])
        let segments = positions(.delete, ["index/"])
        let written = positions(.put, ["index/"])
        let records = positions(.delete, ["condemned/"])
        let rescued = try #require(positions(.put, ["data/", "tree/"]).first)
        let firstPack = try #require(packs.first)
        let lastPack = try #require(packs.last)
        let firstSegment = try #require(segments.first)
        let lastSegment = try #require(segments.last)
        // What is rescued is stored and listed before anything goes.
        #expect(rescued < firstPack)
        #expect(written.contains { $0 > rescued && $0 < firstPack })
        #expect(lastPack < firstSegment)
        // The rewritten segments are there before the old ones go.
        #expect(written.contains { $0 > lastPack && $0 < firstSegment })
        #expect(records.count == 2 && records.allSatisfy { $0 > lastSegment })
        // Packs go by the tag that was condemned.
        #expect(
            recorder.requests.allSatisfy { request in
                request.operation != .delete || !request.key.hasPrefix("data/") || request.condition != .none
            })
    }

    /// A copy that an earlier run stored and did not come to list is listed before the other copy goes.
    @Test func anUnlistedCopyIsListedBeforeTheListedOneGoes() async throws {
        let test = try await TestRepository.create(graceSeconds: 1000)
        let files = Self.files(1)
        let id = try await test.repository.snapshot(files)
        let segments = Set(try await test.names("index/"))
        try await test.condemn(try await test.packs())
        let copy = try await test.repository.prepare(files)
        await copy.session.abandon()
        for name in try await test.names("index/") where !segments.contains(name) {
            try await test.memory.delete(name, ifTag: nil)
        }
        test.clock.advance(bySeconds: 2000)
        // As it is now nothing is lost, whatever an interrupted run has left.
        #expect(try await VerifierTests.verify(test, .full).isSound)
        let recorder = RecordingObjectStore(test.memory)
        let repository = try await test.reopened(store: recorder)
        recorder.reset()
        let report = try await Collector(repository: repository).prune()
        #expect(report.packsDeleted == 2 && report.chunksRescued == 0)
        let listed = try #require(
            recorder.requests.firstIndex { $0.operation == .put && $0.key.hasPrefix(ObjectNames.segments) })
        let removed = try #require(
            recorder.requests.firstIndex { $0.operation == .delete && ObjectNames.parsePack($0.key) != nil })
        #expect(listed < removed)
        #expect(try await test.repository.files(of: id) == files)
        #expect(try await VerifierTests.verify(test, .full).problems.isEmpty)
    }

    /// The order in which a survey reads is part of the proof (`RepositorySurvey`).
    @Test func aSurveyReadsInTheOrderThatTheProofNeeds() async throws {
        let (test, _) = try await Self.scene()
        let recorder = RecordingObjectStore(test.memory)
        let repository = try await test.reopened(store: recorder)
        recorder.reset()
        _ = try await Collector(repository: repository).prune(PruneOptions(isDryRun: true))
        let lists = recorder.keys(.list).filter { !$0.hasPrefix("keys") && !$0.hasPrefix("sessions") }
        #expect(lists == ["condemned/", "snapshots/", "index/", "condemned/", "data/", "tree/"])
    }

    /// A collector condemns what a writer relies on after its first look, walks before its manifest is there, and removes
    /// the packs after it has seen that they are still there: only the second look at the records tells.
    @Test func aWriterBetweenWalkAndRemovalSeesTheRecord() async throws {
        let test = try await TestRepository.create()
        let old: Files = ["a": bytes(300_000, seed: 1)]
        let first = try await test.repository.snapshot(old)
        let mayCollect = Gate()
        let aboutToRemove = Gate()
        let writerIsDone = Gate()
        let pausing = Intruder(test.store, at: .beforePut(ObjectNames.snapshots)) {
            mayCollect.open()
            await aboutToRemove.pass()
        }
        let writer = try await test.reopened(store: pausing)
        let prepared = try await writer.prepare(old)
        _ = try await test.repository.forget([first])
        let collecting = Intruder(test.store, at: .beforeDelete(["data/", "tree/"])) {
            aboutToRemove.open()
            await writerIsDone.pass()
        }
        let collector = try await test.reopened(store: collecting)
        async let report = {
            // Whatever fails, nobody waits for it.
            defer { aboutToRemove.open() }
            await mayCollect.pass()
            return try await Collector(repository: collector).prune(PruneOptions(graceSeconds: 0))
        }()
        let outcome = await code { _ = try await prepared.session.commit(prepared.manifest, chain: prepared.chain) }
        mayCollect.open()
        writerIsDone.open()
        #expect(try await report.packsDeleted == 2)
        #expect(outcome == .collectedMeanwhile)
        #expect(try await test.names("snapshots/").isEmpty)
    }

    @Test func aLivingCollectorKeepsOthersAway() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(["a": [1]])
        let claim = CollectorClaim(id: try Identifier.random(), host: "elsewhere", machine: "other", processID: 1)
        try await test.put(ObjectNames.collectorClaim, try claim.encoded(keyring: test.repository.keyring))
        test.clock.advance(bySeconds: 59)
        let error = await #expect(throws: RepositoryError.self) {
            _ = try await Collector(repository: test.repository).prune()
        }
        #expect(error?.code == .busy)
        #expect(error?.message.contains("process 1 on elsewhere") == true)
        test.clock.advance(bySeconds: 2)
        _ = try await Collector(repository: test.repository).prune()
        #expect(try await test.names("claims/").isEmpty)
    }

    @Test func aClaimThatCannotBeReadExpiresToo() async throws {
        let test = try await TestRepository.create()
        try await test.put(ObjectNames.collectorClaim, [1, 2, 3])
        #expect(await code { _ = try await Collector(repository: test.repository).prune() } == .busy)
        test.clock.advance(bySeconds: 61)
        _ = try await Collector(repository: test.repository).prune()
    }

    @Test func aStoreWithoutConditionsIsCollectedAllTheSame() async throws {
        var behaviour = MemoryObjectStore.Behaviour()
        behaviour.ignoresCreateIfAbsent = true
        behaviour.ignoresReplaceIfTag = true
        behaviour.ignoresDeleteTag = true
        behaviour.listsUnordered = true
        behaviour.pageSize = 3
        let test = try await TestRepository.create(
            behaviour: behaviour,
            capabilities: StoreCapabilities(
                createIfAbsent: false, replaceIfTag: false, conditionalDelete: false, listIsOrdered: false,
                retention: false))
        let first = try await test.repository.snapshot(Self.files(1))
        let second = try await test.repository.snapshot(Self.files(2))
        _ = try await test.repository.forget([first])
        let report = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        #expect(report.packsDeleted > 0)
        #expect(try await test.repository.files(of: second) == Self.files(2))
    }
}
