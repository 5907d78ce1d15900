import Basics
import Kubernetes
import Testing

@Suite("Objects")
struct ObjectTests {
    static let pod = """
        {"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"a.io/x":"1","bad":2},\
        "creationTimestamp":"2026-01-02T03:04:05Z","deletionTimestamp":"2026-01-02T03:04:06Z","finalizers":["f/a","f/b"],\
        "generation":3,"labels":{"app":"x"},"name":"p","namespace":"n","ownerReferences":[{"apiVersion":"batch/v1",\
        "blockOwnerDeletion":true,"controller":true,"kind":"Job","name":"j","uid":"u1"}],"resourceVersion":"12",\
        "uid":"u2"},"spec":{"unknownToUs":{"x":1.0}}}
        """

    @Test("Every accessor reads its member, and the object stays as it was")
    func accessors() throws {
        let pod = try KubernetesObject(parsing: Array(Self.pod.utf8))
        #expect(pod.groupVersionKind == GroupVersionKind(version: "v1", kind: "Pod"))
        #expect(pod.name == "p" && pod.namespace == "n" && pod.uid == "u2" && pod.resourceVersion == "12")
        #expect(pod.generation == 3 && pod.labels == ["app": "x"] && pod.annotations == ["a.io/x": "1"])
        #expect(pod.finalizers == ["f/a", "f/b"] && pod.isBeingDeleted)
        #expect(pod.creationTimestamp == CalendarTime.parse(rfc3339: "2026-01-02T03:04:05Z"))
        #expect(pod.deletionTimestamp == CalendarTime.parse(rfc3339: "2026-01-02T03:04:06Z"))
        let owner = OwnerReference(
            apiVersion: "batch/v1", kind: "Job", name: "j", uid: "u1", isController: true, blocksOwnerDeletion: true)
        #expect(pod.ownerReferences == [owner] && pod.controller == owner)
        #expect(pod.label == "Pod n/p")
        #expect(String(decoding: pod.serialized(), as: UTF8.self) == Self.pod)
    }

    @Test("Setters change their member only, and setting back gives the same bytes")
    func setters() throws {
        var pod = try KubernetesObject(parsing: Array(Self.pod.utf8))
        pod.setLabel("z", "1")
        pod.setAnnotation("b.io/y", "2")
        pod.finalizers.append("f/c")
        pod.ownerReferences = []
        pod.resourceVersion = ""
        #expect(pod.labels == ["app": "x", "z": "1"] && pod.annotations["b.io/y"] == "2")
        #expect(pod["metadata", "ownerReferences"] == nil && pod["metadata", "resourceVersion"] == nil)
        pod.setLabel("z", nil)
        pod.setAnnotation("b.io/y", nil)
        pod.finalizers.removeLast()
        pod.resourceVersion = "12"
        pod.ownerReferences = [
            OwnerReference(
                apiVersion: "batch/v1", kind: "Job", name: "j", uid: "u1", isController: true,
                blocksOwnerDeletion: true)
        ]
        #expect(String(decoding: pod.serialized(), as: UTF8.self) == Self.pod)
    }

    @Test("A new object has what it was given")
    func made() {
        var object = KubernetesObject(
            GroupVersionKind(group: "batch", version: "v1", kind: "Job"), namespace: "n", name: "j")
        object.setLabel("a", "b")
        #expect(
            String(decoding: object.serialized(), as: UTF8.self)
                == #"{"apiVersion":"batch/v1","kind":"Job","metadata":{"labels":{"a":"b"},"name":"j","namespace":"n"}}"#
        )
        #expect(object.group == "batch" && object.creationTimestamp == nil && !object.isBeingDeleted)
    }

    @Test("Members of the wrong type read as missing and can be set")
    func wrongTypes() throws {
        var object = try KubernetesObject([
            "metadata": ["labels": "x", "name": 1, "finalizers": ["a": 1]], "kind": [1],
        ])
        #expect(object.labels.isEmpty && object.name.isEmpty && object.finalizers.isEmpty && object.kind.isEmpty)
        object.setLabel("a", "b")
        object.name = "n"
        #expect(object.labels == ["a": "b"] && object.name == "n")
        object = try KubernetesObject(["metadata": .null])
        object.namespace = "n"
        #expect(object.namespace == "n")
        for text in ["[]", "null", "1", #"{"metadata":[]}"#, "{"] {
            #expect(throws: KubernetesObject.Malformed.self) { try KubernetesObject(parsing: Array(text.utf8)) }
        }
    }

    @Test(
        "A selector's text selects what kubectl would",
        arguments: [
            ("", ["a": "b"], true), ("a=b", ["a": "b"], true), ("a==b", ["a": "c"], false), ("a=b", [:], false),
            ("a!=b", ["a": "b"], false), ("a!=b", [:], true), ("a", ["a": ""], true), ("a", [:], false),
            ("!a", [:], true), ("! a", ["a": "b"], false), ("a in (x, y)", ["a": "y"], true),
            ("a in (x,y)", ["a": "z"], false), ("a in (x)", [:], false), ("a notin (x,y)", ["a": "z"], true),
            ("a notin (x,y)", [:], true), ("a notin (x)", ["a": "x"], false), ("a=", ["a": ""], true),
            ("a in ()", ["a": ""], true), ("a>5", ["a": "6"], true), ("a>5", ["a": "5"], false),
            ("a<5", ["a": "x"], false),
            ("a.io/b=c,d", ["a.io/b": "c", "d": "1"], true), ("a.io/b=c,d", ["a.io/b": "c"], false),
            (" a = b , c != d ", ["a": "b"], true), ("in in (in)", ["in": "in"], true),
        ])
    func selectors(text: String, labels: [String: String], isMeant: Bool) throws {
        let selector = try LabelSelector(parsing: text)
        #expect(selector.matches(labels) == isMeant)
        #expect(try LabelSelector(parsing: selector.description) == selector)
    }

    @Test(
        "A malformed selector is refused",
        arguments: [
            ",", "a,", "a=b c", "a in x", "a in (x", "a in (x y)", "=b", "a>x", "a>", "!a=b", "-a", "a-", "a/b/c", "/a",
            "a/", "A.io_/b", "a=é", "a=b/c", "!", "a in (x))", String(repeating: "a", count: 64),
        ])
    func malformedSelectors(text: String) {
        let error = #expect(throws: LabelSelector.Malformed.self) { try LabelSelector(parsing: text) }
        #expect(error?.message.contains("label selector") == true)
    }

    @Test("A selector in an object selects by labels and expressions")
    func objectSelectors() throws {
        let selector = try LabelSelector(
            JSONValue(
                parsing: #"""
                    {"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"In","values":["d","e"]},
                    {"key":"f","operator":"DoesNotExist"}]}
                    """#))
        #expect(selector.description == "a=b,c in (d,e),!f")
        #expect(try LabelSelector(["app": "x"]).description == "app=x")
        #expect(try LabelSelector([:]).requirements.isEmpty)
        #expect(throws: LabelSelector.Malformed.self) {
            try LabelSelector(["matchExpressions": [["key": "a", "operator": "Gt"]]])
        }
        #expect(throws: LabelSelector.Malformed.self) { try LabelSelector(["matchLabels": ["a": 1]]) }
    }
}
