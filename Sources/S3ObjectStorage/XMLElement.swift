internal import Basics

/// An element of a server's answer: enough XML for what S3 and STS send, bounded, and never a crash.
///
/// Namespaces are dropped from names, attributes are read over, comments and processing instructions too. Document
/// types are refused, so there are no entities but the five predefined ones and character references.
struct XMLElement: Equatable, Sendable {
    /// Without a namespace prefix.
    var name: String
    /// The text directly inside, entities resolved, white space at the ends removed where there are children.
    var text: String = ""
    var children: [XMLElement] = []

    /// The first child of that name.
    subscript(name: String) -> XMLElement? { children.first { $0.name == name } }

    /// All children of that name.
    func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }

    /// The document's root. Throws `XMLReader.Malformed`.
    static func parse(_ bytes: [UInt8]) throws(XMLReader.Malformed) -> XMLElement {
        var reader = XMLReader(bytes)
        return try reader.document()
    }
}
