import Kubernetes
import Testing
import Velero

@Suite("Velero's own objects")
struct VeleroObjectTests {
    @Test("A backup is read as Velero 1.17 to main write it")
    func backup() throws {
        let backup = try VeleroBackup(
            parsing: ActionWorld.bytes(
                """
                apiVersion: velero.io/v1
                kind: Backup
                metadata: {name: nightly, namespace: velero, uid: b-1, labels: {velero.io/storage-location: default}}
                spec:
                  includedNamespaces: [ml, 1]
                  excludedNamespaces: [kube-system]
                  storageLocation: default
                  snapshotMoveData: true
                  datamover: becalm
                  ttl: 720h0m0s
                  itemOperationTimeout: 1h30m0s
                  resourcePolicy: {kind: configmap, name: policies}
                  future: {x: 1}
                status: {phase: FinalizingPartiallyFailed}
                """))
        #expect(backup.name == "nightly" && backup.namespace == "velero" && backup.uid == "b-1")
        #expect(backup.includedNamespaces == ["ml"] && backup.excludedNamespaces == ["kube-system"])
        #expect(backup.storageLocation == "default" && backup.movesSnapshotData && backup.dataMover == "becalm")
        #expect(backup.timeToLive == GoDuration(seconds: 720 * 3600) && backup.isFinalizing)
        #expect(backup.itemOperationTimeout == GoDuration(seconds: 5400))
        #expect(backup.resourcePolicy == .init(kind: "configmap", name: "policies"))
    }

    @Test(
        "What is missing or of another type reads as absent",
        arguments: [
            "{}", #"{"metadata":null,"spec":[],"status":1}"#,
            #"{"spec":{"ttl":"x","itemOperationTimeout":"0s","resourcePolicy":{}}}"#,
        ])
    func tolerant(text: String) throws {
        let backup = try VeleroBackup(parsing: Array(text.utf8))
        #expect(backup.name.isEmpty && backup.phase.isEmpty && !backup.isFinalizing && backup.timeToLive == nil)
        #expect(backup.itemOperationTimeout == GoDuration(seconds: 14_400) && backup.resourcePolicy == nil)
        let restore = try VeleroRestore(parsing: Array(text.utf8))
        #expect(restore.namespaceMapping.isEmpty && restore.target(of: "a") == "a")
        #expect(!restore.updatesExisting)
    }

    @Test("A restore is read")
    func restore() throws {
        let restore = try VeleroRestore(
            parsing: ActionWorld.bytes(
                """
                metadata: {name: r, namespace: velero, uid: r-1}
                spec: {backupName: b, namespaceMapping: {a: b}, itemOperationTimeout: 10m}
                status: {phase: Finalizing}
                """))
        #expect(restore.uid == "r-1" && restore.backupName == "b" && restore.target(of: "a") == "b")
        #expect(restore.isFinalizing && restore.itemOperationTimeout == GoDuration(seconds: 600))
    }
}
