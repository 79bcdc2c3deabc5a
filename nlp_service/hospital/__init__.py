"""The hospital's interfaces: HL7 v2 over MLLP, FHIR R4, DICOM SR. What comes in is read by `corpora.sources`."""
