"""Images: an index of what a folder, a DICOMweb server or a manifest holds, and their pixels."""
