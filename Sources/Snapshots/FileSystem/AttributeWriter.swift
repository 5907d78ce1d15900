internal import CFileSystemShims
internal import RepositoryFormat
internal import SystemPackage

/// Brings an open file's extended attributes to what a snapshot recorded, in two steps around its permissions.
struct AttributeWriter {
    /// The open file, O_PATH or not.
    let descriptor: CInt
    let wanted: [ExtendedAttribute]

    /// Longest name of an attribute (XATTR_NAME_MAX, limits.h).
    private static let maximumNameBytes = 255
    private static let accessList = Array("system.posix_acl_access".utf8)
    private static let defaultList = Array("system.posix_acl_default".utf8)
    private static let capability = Array("security.capability".utf8)

    /// Sets all but ACLs and capabilities, and removes what the snapshot does not have: an ACL inherited from the
    /// directory, attributes of a file that is written anew. Labels that the system itself gives stay (`security.*`
    /// but capabilities, `system.*` but ACLs).
    func applyPlain(_ remarks: inout [RestoreRemark]) {
        removeOthers(&remarks)
        for attribute in wanted where !Self.isAccess(attribute.name) { set(attribute, &remarks) }
    }

    /// Sets ACLs, then capabilities.
    func applyAccess(_ remarks: inout [RestoreRemark]) {
        for name in [Self.accessList, Self.defaultList, Self.capability] {
            for attribute in wanted where attribute.name == name { set(attribute, &remarks) }
        }
    }

    private func set(_ attribute: ExtendedAttribute, _ remarks: inout [RestoreRemark]) {
        guard !attribute.name.isEmpty, attribute.name.count <= Self.maximumNameBytes, !attribute.name.contains(0) else {
            remark("\(PathText.display(attribute.name)) is no possible name", nil, &remarks)
            return
        }
        let result = EntryName.withTerminated(attribute.name) { name in
            attribute.value.withUnsafeBytes { fs_attribute_set(descriptor, name, $0.baseAddress, $0.count) }
        }
        if result < 0 {
            remark("\(PathText.display(attribute.name)) not set", Errno(rawValue: -result), &remarks)
        }
    }

    private func removeOthers(_ remarks: inout [RestoreRemark]) {
        let present: [[UInt8]]
        do {
            present = try ExtendedAttributes.list(descriptor, nil)
        } catch {
            remark("those present cannot be listed", error, &remarks)
            return
        }
        for name in present where Self.isOurs(name) && !wanted.contains(where: { $0.name == name }) {
            let result = EntryName.withTerminated(name) { fs_attribute_remove(descriptor, $0) }
            if result < 0, Errno(rawValue: -result) != .noData {
                remark("\(PathText.display(name)) not removed", Errno(rawValue: -result), &remarks)
            }
        }
    }

    private func remark(_ detail: String, _ errno: Errno?, _ remarks: inout [RestoreRemark]) {
        remarks.append(RestoreRemark(.extendedAttribute, detail, errno: errno))
    }

    private static func isAccess(_ name: [UInt8]) -> Bool {
        name == accessList || name == defaultList || name == capability
    }

    private static func isOurs(_ name: [UInt8]) -> Bool {
        isAccess(name) || !(name.starts(with: "security.".utf8) || name.starts(with: "system.".utf8))
    }
}
