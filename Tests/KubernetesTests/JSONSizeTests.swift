import Kubernetes
import Testing

/// The largest items, shaped as they come: many entries with short members, and one very long text.
@Suite("JSON trees of 64 MiB")
struct JSONSizeTests {
    @Test("An item of 64 MiB is read and written as itself")
    func largeItem() throws {
        let limit = JSONValue.Limits().maximumBytes
        var text = Array(#"{"apiVersion":"v1","data":{"long":""#.utf8)
        text += [UInt8](repeating: UInt8(ascii: "x"), count: limit - (4 << 20))
        text += Array(#""},"entries":["#.utf8)
        var number = 0
        while text.count < limit - 256 {
            if number > 0 { text.append(UInt8(ascii: ",")) }
            text += Array(#"{"a.example.io/key-\#(number)":{"count":\#(number),"name":"entry \#(number)\n"}}"#.utf8)
            number += 1
        }
        text += Array(#"],"kind":"ConfigMap"}"#.utf8)
        let object = try KubernetesObject(parsing: text)
        #expect(object.kind == "ConfigMap" && object["entries", .index(number - 1)] != nil)
        #expect(object.serialized() == text)
        text.append(contentsOf: [UInt8](repeating: UInt8(ascii: " "), count: 512))
        #expect(throws: KubernetesObject.Malformed.self) { try KubernetesObject(parsing: text) }
    }
}
