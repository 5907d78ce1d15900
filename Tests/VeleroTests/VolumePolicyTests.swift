import Kubernetes
import Orchestration
import Testing
import Velero

@Suite("Volume policies")
struct VolumePolicyTests {
    static let claim = """
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {name: ckpt, namespace: ml, labels: {app: trainer, tier: gold}}
        spec: {volumeName: pv-1, storageClassName: fast, volumeMode: Filesystem, accessModes: [ReadWriteOnce]}
        status: {phase: Bound, capacity: {storage: 100Gi}}
        """
    static let volume = """
        apiVersion: v1
        kind: PersistentVolume
        metadata: {name: pv-1}
        spec:
          capacity: {storage: 100Gi}
          storageClassName: fast
          csi: {driver: ebs.csi.aws.com, volumeAttributes: {type: gp3}}
        """
    static let share = """
        apiVersion: v1
        kind: PersistentVolume
        metadata: {name: pv-1}
        spec: {capacity: {storage: 100Gi}, storageClassName: fast, nfs: {server: 10.0.0.1, path: /data}}
        """

    private func facts(_ volume: String?) throws -> VolumeFacts {
        VolumeFacts(claim: try ActionWorld.object(Self.claim), volume: try volume.map(ActionWorld.object))
    }

    private func policies(_ conditions: String, _ action: String = "{type: skip}") throws -> VolumePolicies {
        try VolumePolicies(parsing: "version: v1\nvolumePolicies:\n- conditions: \(conditions)\n  action: \(action)\n")
    }

    @Test(
        "Conditions hold as Velero has them",
        arguments: [
            ("{}", true), ("{capacity: '100Gi,100Gi'}", true), ("{capacity: '10Gi,'}", true),
            ("{capacity: ',1Ti'}", true), ("{capacity: ','}", true), ("{capacity: '0,99Gi'}", false),
            ("{capacity: '101Gi,'}", false), ("{capacity: ' 50Gi , 200Gi '}", true),
            ("{storageClass: [slow, fast]}", true),
            ("{storageClass: [slow]}", false), ("{storageClass: []}", true), ("{csi: {}}", true),
            ("{csi: {driver: ebs.csi.aws.com}}", true), ("{csi: {driver: other}}", false),
            ("{csi: {driver: ebs.csi.aws.com, volumeAttributes: {type: gp3}}}", true),
            ("{csi: {driver: ebs.csi.aws.com, volumeAttributes: {type: io2}}}", false), ("{nfs: {}}", false),
            ("{volumeTypes: [nfs, csi]}", true), ("{volumeTypes: [local]}", false),
            ("{pvcLabels: {app: trainer}}", true),
            ("{pvcLabels: {app: trainer, tier: gold}}", true), ("{pvcLabels: {app: x}}", false),
            ("{pvcPhase: [Bound]}", true), ("{pvcPhase: [Pending, Lost]}", false), ("{pvcVolumeMode: Block}", false),
            ("{pvcVolumeMode: Filesystem}", true), ("{pvcAccessModes: [ReadWriteOnce]}", true),
            ("{pvcAccessModes: [ReadWriteOnce, ReadOnlyMany]}", false),
            ("{storageClass: [fast], capacity: '0,1Gi'}", false),
        ])
    func conditions(text: String, holds: Bool) throws {
        let decision = try policies(text).decide(try facts(Self.volume))
        #expect(decision == .init(action: holds ? .skip : nil, undecided: []))
    }

    @Test(
        "A share is told by its server and its path",
        arguments: [
            ("{nfs: {}}", true), ("{nfs: {server: 10.0.0.1}}", true), ("{nfs: {path: /data}}", true),
            ("{nfs: {server: 10.0.0.1, path: /data}}", true), ("{nfs: {server: 10.0.0.2, path: /data}}", false),
            ("{nfs: {path: /other}}", false), ("{csi: {}}", false), ("{volumeTypes: [nfs]}", true),
        ])
    func share(text: String, holds: Bool) throws {
        #expect(try policies(text).decide(try facts(Self.share)).action == (holds ? .skip : nil))
    }

    @Test("A claim without a volume has no size, no class and no driver")
    func unbound() throws {
        var claim = try ActionWorld.object(Self.claim)
        claim.remove(at: ["spec", "volumeName"])
        claim.remove(at: ["status"])
        let facts = VolumeFacts(claim: claim, volume: nil)
        for (text, holds) in [
            ("{capacity: '1Gi,'}", false), ("{capacity: ',1Gi'}", true), ("{storageClass: [fast]}", false),
            ("{csi: {}}", false), ("{volumeTypes: [csi]}", false), ("{pvcPhase: [Pending]}", false),
        ] {
            #expect(try policies(text).decide(facts) == .init(action: holds ? .skip : nil, undecided: []), "\(text)")
        }
    }

    @Test("The first policy that holds counts")
    func first() throws {
        let policies = try VolumePolicies(
            parsing: """
                version: v1
                volumePolicies:
                - {conditions: {storageClass: [slow]}, action: {type: skip}}
                - {conditions: {storageClass: [fast]}, action: {type: custom, parameters: {mover: becalm.io, shards: 4, x: [1]}}}
                - {conditions: {}, action: {type: snapshot}}
                """)
        let facts = try facts(Self.volume)
        #expect(
            policies.decide(facts).action
                == .custom(parameters: ["mover": "becalm.io", "shards": "4"]))
    }

    @Test("A condition of a newer Velero matches nothing, and is told; one that fails beside it decides")
    func foreign() throws {
        let decision = try policies("{phaseOfMoon: full}").decide(try facts(Self.volume))
        #expect(decision.action == nil)
        #expect(decision.undecided.count == 1 && decision.undecided[0].contains("phaseOfMoon"))
        #expect(
            try policies("{phaseOfMoon: full, storageClass: [slow]}").decide(try facts(Self.volume))
                == .init(action: nil, undecided: []))
    }

    @Test("A condition on a volume that cannot be read is told; its size and class are known by its claim")
    func unreadable() throws {
        for text in ["{csi: {}}", "{nfs: {}}", "{volumeTypes: [csi]}"] {
            let decision = try policies(text).decide(try facts(nil))
            #expect(decision.action == nil && decision.undecided.first?.contains("pv-1") == true, "\(text)")
        }
        #expect(try policies("{capacity: '50Gi,200Gi', storageClass: [fast]}").decide(try facts(nil)).action == .skip)
        #expect(try policies("{capacity: '1Ti,'}").decide(try facts(nil)) == .init(action: nil, undecided: []))
    }

    @Test("Policies are read from JSON as well, and none at all decide nothing")
    func json() throws {
        let text =
            #"{"version":"v1","volumePolicies":[{"conditions":{"capacity":"0,1Ti"},"action":{"type":"fs-backup"}}]}"#
        #expect(try VolumePolicies(parsing: text).decide(try facts(Self.volume)).action == .fileSystemBackup)
        for text in ["version: v1", "version: v1\nvolumePolicies:\nincludeExcludePolicy: {}"] {
            #expect(try VolumePolicies(parsing: text).decide(try facts(Self.volume)).action == nil)
        }
    }

    @Test(
        "What is malformed is refused, and told where",
        arguments: [
            ("", "map"), ("[]", "map"), ("version: v2", "v2"), ("version: v1\nvolumePolicies: {}", "list"),
            ("{", "YAML"), ("version: v1\nvolumePolicies: [{conditions: {}}]", "volumePolicies[0].action"),
            ("version: v1\nvolumePolicies: [{conditions: {}, action: {type: move}}]", "move"),
            ("version: v1\nvolumePolicies: [{conditions: [], action: {type: skip}}]", "volumePolicies[0].conditions"),
            ("version: v1\nvolumePolicies: [{conditions: {capacity: 10Gi}, action: {type: skip}}]", "capacity"),
            ("version: v1\nvolumePolicies: [{conditions: {capacity: '10Gi,1Gi'}, action: {type: skip}}]", "capacity"),
            ("version: v1\nvolumePolicies: [{conditions: {capacity: 'x,1Gi'}, action: {type: skip}}]", "`x`"),
            ("version: v1\nvolumePolicies: [{conditions: {storageClass: fast}, action: {type: skip}}]", "storageClass"),
            (
                "version: v1\nvolumePolicies: [{conditions: {csi: {volumeAttributes: {a: b}}}, action: {type: skip}}]",
                "csi"
            ),
            ("version: v1\nvolumePolicies: [{conditions: {csi: x}, action: {type: skip}}]", "csi"),
            ("version: v1\nvolumePolicies: [{conditions: {pvcLabels: {a: [b]}}, action: {type: skip}}]", "pvcLabels"),
        ])
    func malformed(text: String, word: String) {
        let error = #expect(throws: VeleroError.self) { try VolumePolicies(parsing: text) }
        #expect(
            error?.message.contains(word) == true && error?.message.contains("\n") == false, "\(error?.message ?? "")")
    }

    @Test("A ConfigMap holds policies as its only value")
    func configMap() throws {
        let one = try ActionWorld.object(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: p, namespace: velero}, data: {x: 'version: v1'}}")
        #expect(try VolumePolicies(one).decide(try facts(nil)).action == nil)
        for data in ["{}", "{a: 'version: v1', b: 'version: v1'}"] {
            let map = try ActionWorld.object(
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: p, namespace: velero}, data: \(data)}")
            let error = #expect(throws: VeleroError.self) { try VolumePolicies(map) }
            #expect(error?.message.contains("ConfigMap velero/p") == true)
        }
    }

    @Test("Parameters of a custom action are ours when they name us, and strict then")
    func parameters() throws {
        #expect(try MoverParameters([:]) == nil)
        #expect(try MoverParameters(["mover": "kubevirt", "anything": "x"]) == nil)
        var expected = MoverParameters()
        #expect(try MoverParameters(["mover": "becalm.io"]) == expected)
        expected.source = .snapshot
        expected.shards = 64
        #expect(try MoverParameters(["mover": "becalm.io", "source": "snapshot", "shards": "64"]) == expected)
        for (key, value) in [("source", "tape"), ("shards", "0"), ("shards", "65"), ("shards", "x"), ("Shards", "1")] {
            let error = #expect(throws: VeleroError.self) {
                try MoverParameters(["mover": "becalm.io", key: value])
            }
            #expect(error?.message.contains(key) == true)
        }
    }

    @Test("Damaged policies are refused or read, never fatal", arguments: 0..<60)
    func damage(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let whole = Array(
            """
            version: v1
            volumePolicies:
            - conditions: {capacity: '10Gi,1Ti', storageClass: [a], csi: {driver: d}, pvcLabels: {a: b}, nfs: {path: /x}}
              action: {type: custom, parameters: {mover: becalm.io}}
            """.utf8)
        let facts = try facts(Self.volume)
        for _ in 0..<50 {
            var text = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: text.remove(at: place)
                case 1: text[place] = UInt8.random(in: 0x20...0x7e, using: &random)
                default: text.insert(Array("{}[]:,'\n -&*9".utf8).randomElement(using: &random) ?? 0x20, at: place)
                }
            }
            do {
                _ = try VolumePolicies(parsing: String(decoding: text, as: UTF8.self)).decide(facts)
            } catch {
                #expect(!error.message.contains("\n"), "\(error)")
            }
        }
    }
}
