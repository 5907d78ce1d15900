import Kubernetes
import Testing
import Velero

@Suite("Every action")
struct ActionTests {
    @Test("Each plugin of the table is served once, under its name")
    func served() {
        let environment = ActionWorld().environment
        let names =
            VeleroActions.backupItemActions(environment).map(\.name)
            + VeleroActions.restoreItemActions(environment).map(\.name)
            + VeleroActions.deleteItemActions(environment).map(\.name)
            + VeleroActions.itemBlockActions(environment).map(\.name)
        let expected = PluginName.allCases.filter { ![.objectStore, .volumeSnapshotter].contains($0.kind) }
        #expect(names.count == expected.count && Set(names) == Set(expected))
    }

    /// Calls every action with one item.
    private func callAll(_ item: [UInt8], _ world: ActionWorld = ActionWorld()) async -> [(
        String, Result<Void, any Error>
    )] {
        let (backup, restore) = (Array(ActionWorld.backup.utf8), Array(ActionWorld.restore.utf8))
        var results: [(String, Result<Void, any Error>)] = []
        func note(_ name: PluginName, _ body: () async throws -> Void) async {
            do {
                results.append((name.rawValue, .success(try await body())))
            } catch {
                results.append((name.rawValue, .failure(error)))
            }
        }
        for action in VeleroActions.backupItemActions(world.environment) {
            await note(action.name) { _ = try await action.execute(item: item, backup: backup) }
        }
        for action in VeleroActions.restoreItemActions(world.environment) {
            await note(action.name) { _ = try await action.execute(item: item, original: item, restore: restore) }
        }
        for action in VeleroActions.deleteItemActions(world.environment) {
            await note(action.name) { try await action.execute(item: item, backup: backup) }
        }
        for action in VeleroActions.itemBlockActions(world.environment) {
            await note(action.name) { _ = try await action.relatedItems(item: item, backup: backup) }
        }
        return results
    }

    @Test(
        "An item that is no object is refused on one line",
        arguments: [
            "", "[]", "null", "1", "{", #"{"a":1}"#, #"{"kind":""}"#, #"{"kind":1}"#, #"{"kind":"Job","metadata":[]}"#,
            "\u{0}",
        ])
    func noObject(text: String) async throws {
        let results = await callAll(Array(text.utf8))
        #expect(results.count == 6)
        for (name, result) in results {
            let error = #expect(throws: VeleroError.self, "\(name)") { try result.get() }
            #expect(error?.code == .invalidArgument && error?.message.contains("\n") == false)
            #expect(error?.message.contains("the item") == true)
        }
    }

    @Test("An item of more than 4 MiB is refused, one just below is read")
    func huge() async throws {
        let (head, tail) = (Array(#"{"kind":"X","x":""#.utf8), Array(#""}"#.utf8))
        let filler = { (count: Int) in head + [UInt8](repeating: 0x61, count: count - head.count - tail.count) + tail }
        for (_, result) in await callAll(filler(4 << 20 + 1)) {
            let error = #expect(throws: VeleroError.self) { try result.get() }
            #expect(error?.message.contains("4194305") == true)
        }
        // One action is enough: all read with the same function.
        try await ActionWorld().delete.execute(item: filler(4 << 20), backup: Array(ActionWorld.backup.utf8))
    }

    @Test("An object that is none of an action's comes back byte for byte, white space and all")
    func untouched() async throws {
        let item = Array(" { \"kind\" : \"Widget\", \"apiVersion\":\"x/v1\", \"n\":1.50 } ".utf8)
        let (backup, restore) = (Array(ActionWorld.backup.utf8), Array(ActionWorld.restore.utf8))
        for action in VeleroActions.backupItemActions(ActionWorld().environment) {
            let outcome = try await action.execute(item: item, backup: backup)
            #expect(outcome.item == item && outcome.additionalItems.isEmpty && outcome.operation == nil)
        }
        for action in VeleroActions.restoreItemActions(ActionWorld().environment) {
            let outcome = try await action.execute(item: item, original: item, restore: restore)
            #expect(outcome.item == item && !outcome.isSkipped && !outcome.waitsForAdditionalItems)
        }
    }

    @Test("A backup or restore that cannot be read is refused")
    func malformedRun() async throws {
        let item = try ActionWorld.bytes("{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: ml}}")
        for text in ["", "[]", "{"] {
            for action in VeleroActions.backupItemActions(ActionWorld().environment) {
                await #expect(throws: VeleroError.self) {
                    try await action.execute(item: item, backup: Array(text.utf8))
                }
            }
            for action in VeleroActions.restoreItemActions(ActionWorld().environment) {
                await #expect(throws: VeleroError.self) {
                    try await action.execute(item: item, original: item, restore: Array(text.utf8))
                }
            }
        }
    }

    @Test(
        "Progress of what nobody knows is a failure with the reason, and cancelling it succeeds",
        arguments: [
            ("", "no operation id"), ("du-1.2", "no operation id"),
            ("becalm1/quiesce/b-1/jobs.batch/ml/j/u/leases.coordination.k8s.io/ml/j", "nothing is known"),
            ("becalm1/volume-backup/b-1/persistentvolumeclaims/ml/c/u/jobs.batch/velero/x", "nothing is known"),
            ("becalm1/quiesce/b-9/jobs.batch/ml/j/u/leases.coordination.k8s.io/ml/j", "another run, b-9"),
            ("becalm1/workload-restore/b-1/jobs.batch/ml/j/u///", "another action's"),
            ("becalm9/x", "another version"),
        ])
    func operations(operation: String, reason: String) async throws {
        let backup = Array(ActionWorld.backup.utf8)
        var reasons: [String] = []
        for action in VeleroActions.backupItemActions(ActionWorld().environment) {
            guard case .failed(let text) = try await action.progress(operation: operation, backup: backup).outcome
            else {
                Issue.record("not told as a failure")
                return
            }
            reasons.append(text)
            // Whatever stands beside the id, the answer is no error.
            guard case .failed = try await action.progress(operation: operation, backup: []).outcome else {
                Issue.record("not told as a failure")
                return
            }
            try await action.cancel(operation: operation, backup: backup)
        }
        #expect(reasons.contains { $0.contains(reason) }, "\(reasons)")
        for action in VeleroActions.restoreItemActions(ActionWorld().environment) {
            let status = try await action.progress(operation: operation, restore: Array(ActionWorld.restore.utf8))
            guard case .failed = status.outcome else {
                Issue.record("not told as a failure")
                return
            }
            try await action.cancel(operation: operation, restore: Array(ActionWorld.restore.utf8))
            #expect(try await action.areReady([], restore: Array(ActionWorld.restore.utf8)))
        }
    }

    /// Plugins that have settings.
    static let configured: [PluginName] = [.trainingGroup, .quiesce, .volumeBackup, .volumeRestore, .workloadRestore]

    /// What a call for an item says of the settings: what it logs as an error where items are backed up, what it throws where
    /// they are restored.
    private func complaint(_ plugin: PluginName, _ world: ActionWorld) async throws -> String {
        let item = try ActionWorld.bytes(
            plugin == .volumeBackup || plugin == .volumeRestore ? VolumePolicyTests.claim : BackupActionTests.job)
        let (backup, restore) = (Array(ActionWorld.backup.utf8), Array(ActionWorld.restore.utf8))
        switch plugin.kind {
        case .backupItemActionV2:
            for _ in 0..<2 {
                let outcome = try await world.backupAction(plugin).execute(item: item, backup: backup)
                #expect(!outcome.item.isEmpty)
            }
        case .restoreItemActionV2:
            let error = await #expect(throws: VeleroError.self) {
                _ = try await world.restoreAction(plugin).execute(item: item, original: item, restore: restore)
            }
            return error?.message ?? ""
        default: _ = try await world.group.relatedItems(item: item, backup: backup)
        }
        let lines = world.log.lines.filter { $0.hasPrefix("error") && $0.contains("default settings") }
        #expect(lines.count == 1, "once, however many items there are")
        return lines.first ?? ""
    }

    @Test(
        "Settings that an action does not know never end a backup, and keep a restore from guessing",
        arguments: configured)
    func unknownSettings(plugin: PluginName) async throws {
        let world = ActionWorld(plugin, ["gaet": "all"])
        _ = try await appliesTo(plugin, world)
        let message = try await complaint(plugin, world)
        #expect(message.contains("gaet") && message.contains(plugin.rawValue) && message.contains("it knows"))
    }

    @Test("Two ConfigMaps for one plugin are refused by name; those of other plugins and kinds are not looked at")
    func twoConfigMaps() async throws {
        var world = ActionWorld(.quiesce, [:])
        world.configure(.workloadRestore, ["x": "y"], name: "other")
        _ = try await appliesTo(.quiesce, world)
        world.configure(.quiesce, [:], name: "second")
        #expect(try await complaint(.quiesce, world).contains("second, settings"))
    }

    @Test("Without a permission, or a cluster that answers, backups go on; restores wait for one that answers")
    func clusterFailure() async throws {
        for code in [VeleroError.Code.unavailable, .accessDenied, .failed] {
            var world = ActionWorld()
            world.fail(VeleroError(code, "the API server says no"))
            for plugin in Self.configured {
                _ = try await appliesTo(plugin, world)
                let isClaim = plugin == .volumeBackup || plugin == .volumeRestore
                let item = try ActionWorld.bytes(isClaim ? VolumePolicyTests.claim : BackupActionTests.job)
                switch plugin.kind {
                case .backupItemActionV2:
                    _ = try await world.backupAction(plugin).execute(item: item, backup: Array(ActionWorld.backup.utf8))
                case .restoreItemActionV2:
                    let action = try world.restoreAction(plugin)
                    let restore = Array(ActionWorld.restore.utf8)
                    if code == .unavailable {
                        await #expect(throws: VeleroError.self) {
                            _ = try await action.execute(item: item, original: item, restore: restore)
                        }
                    } else {
                        _ = try await action.execute(item: item, original: item, restore: restore)
                    }
                default: _ = try await world.group.relatedItems(item: item, backup: Array(ActionWorld.backup.utf8))
                }
            }
            #expect(
                !world.log.lines.contains { $0.hasPrefix("error") || $0.hasPrefix("warning") && !$0.contains("runs") })
        }
    }

    @Test("A call that was given up guesses no settings")
    func cancelled() async throws {
        var world = ActionWorld()
        world.fail(VeleroError(.cancelled, "given up"))
        for plugin in [PluginName.trainingGroup, .quiesce, .workloadRestore] {
            let error = await #expect(throws: VeleroError.self) { try await appliesTo(plugin, world) }
            #expect(error?.code == .cancelled)
        }
        #expect(world.log.lines.isEmpty)
    }

    private func appliesTo(_ plugin: PluginName, _ world: ActionWorld) async throws -> ResourceSelector {
        switch plugin.kind {
        case .backupItemActionV2: try await world.backupAction(plugin).appliesTo()
        case .restoreItemActionV2: try await world.restoreAction(plugin).appliesTo()
        case .deleteItemAction: try await world.delete.appliesTo()
        default: try await world.group.appliesTo()
        }
    }

    @Test("Actions are for their resources, and for others where their ConfigMap says so")
    func resources() async throws {
        let world = ActionWorld()
        let quiesced = try await appliesTo(.quiesce, world)
        #expect(quiesced.includedResources.contains("jobs.batch"))
        #expect(quiesced.includedResources.contains("pytorchjobs.kubeflow.org"))
        #expect(!quiesced.includedResources.contains("pods"))
        #expect(!quiesced.includedResources.contains("workloads.kueue.x-k8s.io"))
        let restored = try await appliesTo(.workloadRestore, world)
        #expect(
            Set(["pods", "workloads.kueue.x-k8s.io", "jobs.batch.volcano.sh"]).isSubset(of: restored.includedResources))
        for plugin in [PluginName.volumeBackup, .volumeRestore] {
            #expect(try await appliesTo(plugin, world) == ResourceSelector(resources: ["persistentvolumeclaims"]))
        }
        #expect(
            try await appliesTo(.volumeDelete, world).includedResources
                == ["persistentvolumeclaims", "datauploads.velero.io"])
        let configured = ActionWorld(.quiesce, ["resources": "jobs.batch, widgets.example.com\n", "timeout": "5m"])
        #expect(try await appliesTo(.quiesce, configured).includedResources == ["jobs.batch", "widgets.example.com"])
    }

    @Test(
        "A setting that makes no sense is refused with what may stand there",
        arguments: [
            (PluginName.quiesce, "consistency", "yes", "checkpoint"), (.quiesce, "timeout", "10", "90s"),
            (.quiesce, "timeout", "48h", "24h"), (.quiesce, "resources", " , ", "names"),
            (.quiesce, "resources", "jobs pods", "names"), (.trainingGroup, "secrets", "no", "exclude"),
            (.volumeBackup, "volumes", "", "marked"), (.volumeRestore, "ephemeralClaims", "x", "skip"),
            (.workloadRestore, "gate", "x", "marked"), (.workloadRestore, "finished", "x", "hold"),
            (.workloadRestore, "ownedPods", "x", "auto"),
        ])
    func badSettings(plugin: PluginName, key: String, value: String, word: String) async throws {
        let message = try await complaint(plugin, ActionWorld(plugin, [key: value]))
        #expect(message.contains(word), "\(message)")
    }
}
