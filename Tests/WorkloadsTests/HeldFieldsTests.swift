import Kubernetes
import Testing
import Workloads

@Suite("Fields that hold a workload")
struct HeldFieldsTests {
    static let key = "becalm.io/quiesced"

    private func object(_ spec: String) throws -> KubernetesObject {
        try KubernetesObject(
            parsing: Array(
                #"{"apiVersion":"x/v1","kind":"X","metadata":{"name":"x","namespace":"n"},"spec":\#(spec)}"#.utf8))
    }

    @Test(
        "What is held and let go comes back byte for byte",
        arguments: [
            (#"{"replicas":3}"#, ["/spec/replicas"]), (#"{"a":1.50}"#, ["/spec/replicas"]),
            (#"{"suspend":true}"#, ["/spec/suspend"]), ("{}", ["/spec/runPolicy/suspend"]),
            (#"{"runPolicy":{}}"#, ["/spec/runPolicy/suspend"]),
            (#"{"runPolicy":{"x":1}}"#, ["/spec/runPolicy/suspend", "/spec/runPolicy/y", "/spec/deep/er/still"]),
            (#"{"roles":[{"name":"a","r":1},{"name":"b"}]}"#, ["/spec/roles/name=b/r", "/spec/roles/name=a/r"]),
        ])
    func roundTrip(spec: String, paths: [String]) throws {
        let before = try object(spec)
        var held = before
        let settings = try paths.map { FieldSetting(try #require(FieldPath(parsing: $0)), 0) }
        try HeldFields.hold(&held, settings, annotation: Self.key)
        for setting in settings {
            let path = try #require(setting.path.resolve(in: held))
            #expect(held[path] == 0)
        }
        // Another process reads what is stored, and a second hold must not take what the first set for the original.
        var other = try KubernetesObject(parsing: held.serialized())
        try HeldFields.hold(&other, settings, annotation: Self.key)
        #expect(other == held)
        #expect(try HeldFields.release(&other, annotation: Self.key).isEmpty)
        #expect(
            String(decoding: other.serialized(), as: UTF8.self) == String(decoding: before.serialized(), as: UTF8.self))
    }

    @Test("A field that somebody changed meanwhile stays as they set it, and is told")
    func foreignChange() throws {
        var held = try object(#"{"replicas":3,"suspend":false}"#)
        let replicas = FieldPath("spec", "replicas")
        try HeldFields.hold(
            &held, [FieldSetting(replicas, 0), FieldSetting(FieldPath("spec", "suspend"), true)], annotation: Self.key)
        try held.set(5, at: ["spec", "replicas"])
        #expect(try HeldFields.release(&held, annotation: Self.key) == [replicas])
        #expect(held["spec", "replicas"] == 5 && held["spec", "suspend"] == false)
        #expect(held.annotations.isEmpty)
    }

    @Test("A field that somebody changed while it was held is held again as what it is now")
    func changedAndHeldAgain() throws {
        var held = try object(#"{"replicas":3}"#)
        let settings = [FieldSetting(FieldPath("spec", "replicas"), 0)]
        try HeldFields.hold(&held, settings, annotation: Self.key)
        try held.set(5, at: ["spec", "replicas"])
        try HeldFields.hold(&held, settings, annotation: Self.key)
        #expect(held["spec", "replicas"] == 0)
        #expect(try HeldFields.release(&held, annotation: Self.key).isEmpty)
        #expect(held["spec", "replicas"] == 5)
        // Also where its user took it out.
        try HeldFields.hold(&held, settings, annotation: Self.key)
        held.remove(at: ["spec", "replicas"])
        try HeldFields.hold(&held, settings, annotation: Self.key)
        #expect(try HeldFields.release(&held, annotation: Self.key).isEmpty)
        #expect(held["spec"] == [:])
    }

    @Test("An element that is gone is told, and nothing else is touched")
    func goneElement() throws {
        var held = try object(#"{"roles":[{"name":"a","r":1},{"name":"b","r":2}]}"#)
        let paths = ["/spec/roles/name=a/r", "/spec/roles/name=b/r"].compactMap(FieldPath.init(parsing:))
        try HeldFields.hold(&held, paths.map { FieldSetting($0, 0) }, annotation: Self.key)
        try held.set([["name": "c", "r": 7], ["name": "b", "r": 0]], at: ["spec", "roles"])
        #expect(try HeldFields.release(&held, annotation: Self.key) == [paths[0]])
        #expect(held["spec", "roles"] == [["name": "c", "r": 7], ["name": "b", "r": 2]])
        var none = try object("{}")
        #expect(throws: WorkloadError.self) {
            try HeldFields.hold(&none, [FieldSetting(paths[0], 0)], annotation: Self.key)
        }
        #expect(none == (try object("{}")))
    }

    @Test(
        "An annotation that cannot be read is refused, and the object stays as it is",
        arguments: [
            "", "{", "[]", #"{"version":1}"#, #"{"fields":[],"version":2}"#, #"{"fields":[{}],"version":1}"#,
            #"{"fields":[{"path":"spec","set":0}],"version":1}"#,
            #"{"fields":[{"path":"/a","set":0,"made":1}],"version":1}"#,
        ])
    func malformed(text: String) throws {
        var held = try object(#"{"replicas":0}"#)
        held.setAnnotation(Self.key, text)
        let before = held
        let error = #expect(throws: WorkloadError.self) { try HeldFields.release(&held, annotation: Self.key) }
        #expect(error?.message.contains("X n/x") == true)
        #expect(held == before)
    }

    @Test("A path's text is read as the path", arguments: ["/a", "/a~1b/c~2d=e~0", "/spec/roles/name=a/spec/replicas"])
    func paths(text: String) throws {
        #expect(try #require(FieldPath(parsing: text)).description == text)
    }

    @Test("Text that is no path is refused", arguments: ["", "/", "a", "/a//b", "/a=b=c", "/~3", "/~", "/=a", "/a="])
    func malformedPaths(text: String) { #expect(FieldPath(parsing: text) == nil) }
}
