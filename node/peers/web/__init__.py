"""DICOMweb and Orthanc's REST interface, both ways."""
