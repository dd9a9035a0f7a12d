BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
CREATE TABLE associations (
	id VARCHAR(32) NOT NULL, 
	calling_ae VARCHAR(16) NOT NULL, 
	receiver VARCHAR(32) NOT NULL, 
	opened_at FLOAT NOT NULL, 
	closed_at FLOAT, 
	ending VARCHAR(16), 
	CONSTRAINT pk_associations PRIMARY KEY (id)
);
INSERT INTO "associations" VALUES('0a7cd0b0d4e542e7aab2efb9c9b1a3b6','OTHER','receiver-1/27089-18ea2ac7e5aff95',1.79529444303766560556e+09,1795294443.1045,'released');
INSERT INTO "associations" VALUES('583cff88ce03439d8aaa2594434a9971','OTHER','receiver-1/27089-18ea2ac7e5aff95',1.79529444777908325195e+09,1.79529444781598377222e+09,'aborted');
INSERT INTO "associations" VALUES('86fce531f79441d4b3e174f4eab50f33','OTHER','receiver-1/27089-18ea2ac7e5aff95',1.79529444840899920468e+09,1.7952944485128436089e+09,'released');
CREATE TABLE commitments (
	transaction_uid VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	destination VARCHAR(32) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempt INTEGER NOT NULL, 
	asked_at FLOAT NOT NULL, 
	answered_at FLOAT, 
	failures JSON NOT NULL, 
	CONSTRAINT pk_commitments PRIMARY KEY (transaction_uid), 
	CONSTRAINT fk_commitments_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE TABLE cursors (
	source VARCHAR(32) NOT NULL, 
	position VARCHAR(64) NOT NULL, 
	at FLOAT NOT NULL, 
	CONSTRAINT pk_cursors PRIMARY KEY (source)
);
CREATE TABLE deliveries (
	sop_instance_uid VARCHAR(64) NOT NULL, 
	destination VARCHAR(32) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	status VARCHAR(6) NOT NULL, 
	updated_at FLOAT NOT NULL, 
	CONSTRAINT pk_deliveries PRIMARY KEY (sop_instance_uid, destination), 
	CONSTRAINT fk_deliveries_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT fk_deliveries_sop_instance_uid FOREIGN KEY(sop_instance_uid) REFERENCES results (sop_instance_uid)
);
INSERT INTO "deliveries" VALUES('2.25.128611283635177568065694692264505865152','folder','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','confirmed','copied',1.79529444485045170786e+09);
INSERT INTO "deliveries" VALUES('2.25.300514754921817894782534068772819739632','folder','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','confirmed','copied',1.79529444485045170786e+09);
INSERT INTO "deliveries" VALUES('2.25.139124315643565593789582681207524178454','folder','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','confirmed','copied',1.79529444485045170786e+09);
INSERT INTO "deliveries" VALUES('2.25.202645615526325611716241486785911044676','folder','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','confirmed','copied',1.79529444485045170786e+09);
INSERT INTO "deliveries" VALUES('2.25.128611283635177568065694692264505865152','away','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','pending','',1.79529444473371744151e+09);
INSERT INTO "deliveries" VALUES('2.25.300514754921817894782534068772819739632','away','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','pending','',1.79529444473371744151e+09);
INSERT INTO "deliveries" VALUES('2.25.139124315643565593789582681207524178454','away','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','pending','',1.79529444473371744151e+09);
INSERT INTO "deliveries" VALUES('2.25.202645615526325611716241486785911044676','away','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','pending','',1.79529444473371744151e+09);
CREATE TABLE dispatches (
	job_id VARCHAR(64) NOT NULL, 
	destination VARCHAR(32) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	refusals INTEGER NOT NULL, 
	run INTEGER NOT NULL, 
	since FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	trouble TEXT NOT NULL, 
	CONSTRAINT pk_dispatches PRIMARY KEY (job_id, destination), 
	CONSTRAINT fk_dispatches_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "dispatches" VALUES('148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','folder','delivered',1,0,1,1.79529444473371744151e+09,1.79529444485566711418e+09,'');
INSERT INTO "dispatches" VALUES('148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','away','waiting',2,0,1,1.79529444473371744151e+09,1.79529444869254469875e+09,'C-STORE: no connection to 127.0.0.1:53363 (Connection refused).');
CREATE TABLE events (
	id INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	subject VARCHAR(64) NOT NULL, 
	detail JSON NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (id)
);
INSERT INTO "events" VALUES(1,1.79529444422171306607e+09,'complete','7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f','{"evidence": "associations released, 4 slices every 2.500 mm", "instances": 4, "version": 1}');
INSERT INTO "events" VALUES(2,1.79529444427994346617e+09,'queued','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','{"pipeline": "ct-denoise", "rule": "ct"}');
INSERT INTO "events" VALUES(3,1.79529444447252893449e+09,'ahead','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','{"slices": 4, "total": 4, "seconds": 0.485}');
INSERT INTO "events" VALUES(4,1.79529444473371744151e+09,'derived','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','{"series": "2.25.288233350351565482151963365523049178666", "instances": 4}');
INSERT INTO "events" VALUES(5,1.79529444485566711418e+09,'delivered','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','{"destination": "folder"}');
INSERT INTO "events" VALUES(6,1.79529444959740281098e+09,'complete','f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8','{"evidence": "associations released, 4 slices every 2.500 mm", "instances": 4, "version": 1}');
INSERT INTO "events" VALUES(7,1.79529444973035335548e+09,'queued','0c28fe4272d2f49b3e673aeff0594949d72070ff8f7b5ba16f93ab06630897d0','{"pipeline": "ct-denoise", "rule": "ct"}');
CREATE TABLE evidence (
	id INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	series_uid VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	instances INTEGER, 
	at FLOAT NOT NULL, named JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_evidence PRIMARY KEY (id), 
	CONSTRAINT uq_evidence_kind_key_series_uid UNIQUE (kind, "key", series_uid)
);
CREATE TABLE gatherings (
	study_uid VARCHAR(64) NOT NULL, 
	rule VARCHAR(32) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	roles JSON NOT NULL, 
	since FLOAT NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_gatherings PRIMARY KEY (study_uid, rule)
);
CREATE TABLE instances (
	id INTEGER NOT NULL, 
	sop_instance_uid VARCHAR(64) NOT NULL, 
	sop_class_uid VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	series_uid VARCHAR(64) NOT NULL, 
	transfer_syntax VARCHAR(64) NOT NULL, 
	patient_key VARCHAR(64) NOT NULL, 
	file VARCHAR(80) NOT NULL, 
	bytes INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	pixel_sha256 VARCHAR(64) NOT NULL, 
	header JSON NOT NULL, 
	association VARCHAR(32) NOT NULL, 
	received_at FLOAT NOT NULL, 
	CONSTRAINT pk_instances PRIMARY KEY (id), 
	CONSTRAINT uq_instances_sop_instance_uid UNIQUE (sop_instance_uid)
);
INSERT INTO "instances" VALUES(1,'2.25.49241864273969731677962899500668085047','1.2.840.10008.5.1.4.1.1.2','2.25.69553053545124152893733521420617585356','2.25.194786546469145214420599202964077782205','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000000.dcm',525460,'b4d27491b6a699df6fdfb8e51b1d41ebbd1147292449cd055e1c6b3bac452136','62743c5a72a2a8b437abc85328e432e75bbe646b9420027e4951f8c88240c6fa','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.49241864273969731677962899500668085047"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.69553053545124152893733521420617585356"],"SeriesInstanceUID":["2.25.194786546469145214420599202964077782205"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["1"],"ImagePositionPatient":["-178.85","-178.85","-3.75"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.88708708886549615798296780046202882667"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','0a7cd0b0d4e542e7aab2efb9c9b1a3b6',1.79529444305078864094e+09);
INSERT INTO "instances" VALUES(2,'2.25.270952152719093624894222498721008664521','1.2.840.10008.5.1.4.1.1.2','2.25.69553053545124152893733521420617585356','2.25.194786546469145214420599202964077782205','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000001.dcm',525460,'6f3441d2b3cf9e7554048e00636817f3b0ce8eccf573e4bab321a8e360a24285','12094753bf7e8d93750d6d7099e5d98d2e519a99771179110b7916ff92f976fd','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.270952152719093624894222498721008664521"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.69553053545124152893733521420617585356"],"SeriesInstanceUID":["2.25.194786546469145214420599202964077782205"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["2"],"ImagePositionPatient":["-178.85","-178.85","-1.25"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.88708708886549615798296780046202882667"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','0a7cd0b0d4e542e7aab2efb9c9b1a3b6',1.79529444306181287759e+09);
INSERT INTO "instances" VALUES(3,'2.25.76867119878341297072516562694055754427','1.2.840.10008.5.1.4.1.1.2','2.25.69553053545124152893733521420617585356','2.25.194786546469145214420599202964077782205','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000002.dcm',525456,'12b5f4a4fd6561c16866689fe1544e8e7a883215be1ac1c696b2bd4634090b05','7171b2c6bb8cf9d1d4f8153d52d46110fd0a3b4e7dc5d495aebd26082e385854','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.76867119878341297072516562694055754427"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.69553053545124152893733521420617585356"],"SeriesInstanceUID":["2.25.194786546469145214420599202964077782205"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["3"],"ImagePositionPatient":["-178.85","-178.85","1.25"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.88708708886549615798296780046202882667"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','0a7cd0b0d4e542e7aab2efb9c9b1a3b6',1.79529444307435870169e+09);
INSERT INTO "instances" VALUES(4,'2.25.102465892880980472603908955986932757901','1.2.840.10008.5.1.4.1.1.2','2.25.69553053545124152893733521420617585356','2.25.194786546469145214420599202964077782205','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000003.dcm',525456,'2d2ea576c9d981047d464a5a7d8c896f3c43d37381fed5cc49bdfec502e32086','ce35abbdb77f38ba1c0622a52adfb98e1eee15e37c975aa7ded9265b60efea1c','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.102465892880980472603908955986932757901"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.69553053545124152893733521420617585356"],"SeriesInstanceUID":["2.25.194786546469145214420599202964077782205"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["4"],"ImagePositionPatient":["-178.85","-178.85","3.75"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.88708708886549615798296780046202882667"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','0a7cd0b0d4e542e7aab2efb9c9b1a3b6',1.79529444308331203455e+09);
INSERT INTO "instances" VALUES(5,'2.25.185297730191544388194878551303656798199','1.2.840.10008.5.1.4.1.1.2','2.25.93883721024806894571706456324740907533','2.25.180317523360108414903677721473887513837','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000004.dcm',525460,'dfffd7ddb2bf70756b6968cf66ad999799e256e4b914d3e887be708c0d6c5508','c3dd8c5c4357204c7ac1558c2f867a1d4b2c4d74474e1cd723492343173af1b8','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.185297730191544388194878551303656798199"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.93883721024806894571706456324740907533"],"SeriesInstanceUID":["2.25.180317523360108414903677721473887513837"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["1"],"ImagePositionPatient":["-178.85","-178.85","-3.75"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.199506725318244789971575784963297833637"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','583cff88ce03439d8aaa2594434a9971',1.79529444779864048959e+09);
INSERT INTO "instances" VALUES(6,'2.25.110805394149242853169664639565719813685','1.2.840.10008.5.1.4.1.1.2','2.25.93883721024806894571706456324740907533','2.25.180317523360108414903677721473887513837','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000005.dcm',525460,'6cb304032e2cf04ab14f57099e5d064b10988c6744dde67ba365994c4b1c2aa2','f5ee86d1baa3afd5590ae05718092a0f33006e4a66c1c9c54962a2e6ee23f3a3','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.110805394149242853169664639565719813685"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.93883721024806894571706456324740907533"],"SeriesInstanceUID":["2.25.180317523360108414903677721473887513837"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["2"],"ImagePositionPatient":["-178.85","-178.85","-1.25"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.199506725318244789971575784963297833637"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','583cff88ce03439d8aaa2594434a9971',1.79529444780740666393e+09);
INSERT INTO "instances" VALUES(7,'2.25.218888939216913963947863520267391964576','1.2.840.10008.5.1.4.1.1.2','2.25.77351978251728615712400823498114218542','2.25.165374249663405839855942022768717405915','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000006.dcm',525460,'20e32fa8d5b49c0359a4ae7424ffc9c42c2c2150d111756a89fa884db1236f8b','b66617f80f963c4f84540546976964dd37577892b7a3ebf76ecf13a67a4ce12c','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.218888939216913963947863520267391964576"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.77351978251728615712400823498114218542"],"SeriesInstanceUID":["2.25.165374249663405839855942022768717405915"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["1"],"ImagePositionPatient":["-178.85","-178.85","-3.75"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.41102516667754655081125549228922947426"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','86fce531f79441d4b3e174f4eab50f33',1.79529444842026400562e+09);
INSERT INTO "instances" VALUES(8,'2.25.211268213573696732749227699006803088825','1.2.840.10008.5.1.4.1.1.2','2.25.77351978251728615712400823498114218542','2.25.165374249663405839855942022768717405915','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000007.dcm',525460,'2082f95dc57374d0f72e74c07c7feedb5bfe7d8e8cbb43091654945a0788bb2e','55787ede0aea1b3dae44c46e70a27760bf1e9d5193f93089c98dfe9335908847','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.211268213573696732749227699006803088825"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.77351978251728615712400823498114218542"],"SeriesInstanceUID":["2.25.165374249663405839855942022768717405915"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["2"],"ImagePositionPatient":["-178.85","-178.85","-1.25"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.41102516667754655081125549228922947426"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','86fce531f79441d4b3e174f4eab50f33',1.79529444844834423062e+09);
INSERT INTO "instances" VALUES(9,'2.25.288108650771231168892027409687922115379','1.2.840.10008.5.1.4.1.1.2','2.25.77351978251728615712400823498114218542','2.25.165374249663405839855942022768717405915','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000008.dcm',525456,'e812847c44d82a4157e7754ed65156467ea65515cb8495b5ee174836f0907376','3a0df067d84d3877db5edadc1d0ff5a898ac6a42074ed061b5157c259341ff6f','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.288108650771231168892027409687922115379"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.77351978251728615712400823498114218542"],"SeriesInstanceUID":["2.25.165374249663405839855942022768717405915"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["3"],"ImagePositionPatient":["-178.85","-178.85","1.25"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.41102516667754655081125549228922947426"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','86fce531f79441d4b3e174f4eab50f33',1.79529444846822381015e+09);
INSERT INTO "instances" VALUES(10,'2.25.94012634591788249529256830106519680460','1.2.840.10008.5.1.4.1.1.2','2.25.77351978251728615712400823498114218542','2.25.165374249663405839855942022768717405915','1.2.840.10008.1.2.1','fee4ce745636fd04ee6a9fcdfbd7654ce9f45f2930f65d46271ca7b674177ad3','2026112120/14fe1f0338d272b0-00000009.dcm',525456,'3d149cb7ab549143dbe8a43c0981d886096aa3274b20e6fbd4564447012567ce','c9150ad942485234aba82169406c6b9a6f2e21f4523263f4e3e3609bc16c3c37','{"SpecificCharacterSet":["ISO_IR 100"],"ImageType":["ORIGINAL","PRIMARY","AXIAL"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.2"],"SOPInstanceUID":["2.25.94012634591788249529256830106519680460"],"StudyDate":["20260105"],"SeriesDate":["20260105"],"AcquisitionDate":["20260105"],"ContentDate":["20260105"],"StudyTime":["093000"],"SeriesTime":["093000"],"AcquisitionTime":["093000"],"ContentTime":["093000"],"Modality":["CT"],"Manufacturer":["PHANTOM"],"StudyDescription":["PHANTOM ABDOMEN"],"SeriesDescription":["PHANTOM ABDOMEN LOW DOSE"],"ManufacturerModelName":["COMPUTED ABDOMEN"],"BodyPartExamined":["ABDOMEN"],"SliceThickness":["2.5"],"KVP":["120.0"],"ProtocolName":["PHANTOM ABDOMEN LOW DOSE"],"ReconstructionDiameter":["358.4"],"GantryDetectorTilt":["0.0"],"XRayTubeCurrent":["40"],"Exposure":["20"],"ConvolutionKernel":["SOFT"],"PatientPosition":["HFS"],"StudyInstanceUID":["2.25.77351978251728615712400823498114218542"],"SeriesInstanceUID":["2.25.165374249663405839855942022768717405915"],"SeriesNumber":["2"],"AcquisitionNumber":["1"],"InstanceNumber":["4"],"ImagePositionPatient":["-178.85","-178.85","3.75"],"ImageOrientationPatient":["1.0","0.0","0.0","0.0","1.0","0.0"],"FrameOfReferenceUID":["2.25.41102516667754655081125549228922947426"],"SamplesPerPixel":["1"],"PhotometricInterpretation":["MONOCHROME2"],"Rows":["512"],"Columns":["512"],"PixelSpacing":["0.7","0.7"],"BitsAllocated":["16"],"BitsStored":["12"],"HighBit":["11"],"PixelRepresentation":["0"],"RescaleIntercept":["-1024.0"],"RescaleSlope":["1.0"],"RescaleType":["HU"],"PatientAgeGroup":["ADULT"],"CallingAETitle":["OTHER"]}','86fce531f79441d4b3e174f4eab50f33',1.79529444848826503751e+09);
CREATE TABLE job_sets (
	job_id VARCHAR(64) NOT NULL, 
	role VARCHAR(32) NOT NULL, 
	set_id VARCHAR(64) NOT NULL, 
	part VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_job_sets PRIMARY KEY (job_id, role), 
	CONSTRAINT fk_job_sets_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT fk_job_sets_set_id FOREIGN KEY(set_id) REFERENCES sets (id)
);
CREATE TABLE jobs (
	id VARCHAR(64) NOT NULL, 
	set_id VARCHAR(64) NOT NULL, 
	rule VARCHAR(32) NOT NULL, 
	pipeline VARCHAR(64) NOT NULL, 
	pipeline_version VARCHAR(16) NOT NULL, 
	engine_sha256 VARCHAR(64) NOT NULL, 
	destinations JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	stage VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	started_at FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	starts INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	series_number INTEGER, 
	series_uid VARCHAR(64), 
	series_description VARCHAR(64), 
	input_digest VARCHAR(64), 
	report JSON, 
	seconds JSON NOT NULL, 
	first_out_at FLOAT, parameters JSON DEFAULT '{}' NOT NULL, part VARCHAR(64) DEFAULT 'all' NOT NULL, maps JSON DEFAULT '[]' NOT NULL, map_series_number INTEGER, unfit JSON DEFAULT '[]' NOT NULL, numbers JSON DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_jobs_set_id FOREIGN KEY(set_id) REFERENCES sets (id)
);
INSERT INTO "jobs" VALUES('148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03','7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f','ct','ct-denoise','1.1.0','f96508ebebadfaf05e892c7aebbf95bea60fda1787857ee3baf8c57f458fe61a','["folder", "away"]','delivering','deliver','',1.79529444427994346617e+09,1.79529444473371744151e+09,1,0,2011,'2.25.288233350351565482151963365523049178666','AI DENOISED - PHANTOM ABDOMEN LOW DOSE','de6da338c28c72635e75881d62ac5e841a580c9b9214d558d7fd511008f5d130','{"held": false, "verdict": "pass", "pipeline": "ct-denoise", "version": "1.1.0", "findings": [{"name": "finite", "value": 0.0, "limit": 0.0, "verdict": "pass", "version": "1.0.0", "text": "0 of 1048576 voxels are not finite."}, {"name": "geometry_equal", "value": 0.0, "limit": 0.001, "verdict": "pass", "version": "1.0.0", "text": "Shape, affine, unit and padding are kept."}, {"name": "within_range", "value": 0.0, "limit": 0.5, "verdict": "pass", "version": "1.0.0", "text": "-1024.0 to 647.0 HU; allowed -1024.0 to 3071.0 HU."}, {"name": "protocol", "value": 0.0, "limit": 0.0, "verdict": "pass", "version": "1.0.0", "text": "The examination is one that the network was made for."}, {"name": "pixel_size", "value": 0.0, "limit": 0.03, "verdict": "pass", "version": "1.0.0", "text": "Pixel Spacing is off from Reconstruction Diameter by 0.0 %; allowed 3 %."}, {"name": "hounsfield_scale", "value": 0.625, "limit": 14.0, "verdict": "pass", "version": "1.0.0", "text": "Air lies +0.6 HU from -1000 HU; allowed 14 HU."}, {"name": "mean_shift_air", "value": -0.012163352156790729, "limit": 5.0, "verdict": "pass", "version": "1.0.0", "text": "Mean of air moved by -0.01 HU over 131709 blocks; allowed 5 HU."}, {"name": "mean_shift_lung", "value": 0.07865784241272522, "limit": 5.0, "verdict": "pass", "version": "1.0.0", "text": "Mean of lung moved by +0.08 HU over 8325 blocks; allowed 5 HU."}, {"name": "mean_shift_fat", "value": 0.11957766484077559, "limit": 5.0, "verdict": "pass", "version": "1.0.0", "text": "Mean of fat moved by +0.12 HU over 32847 blocks; allowed 5 HU."}, {"name": "mean_shift_soft", "value": 0.45213931423941117, "limit": 2.0, "verdict": "pass", "version": "1.0.0", "text": "Mean of soft moved by +0.45 HU over 60305 blocks; allowed 2 HU."}, {"name": "mean_shift_bone", "value": 0.034740689434582674, "limit": 5.0, "verdict": "pass", "version": "1.0.0", "text": "Mean of bone moved by +0.03 HU over 5056 blocks; allowed 5 HU."}, {"name": "residual_is_noise", "value": 0.4218124546045617, "limit": 1.2, "verdict": "pass", "version": "1.0.0", "text": "Removed at edges over removed in flat regions: 0.42 (median of 1 slices); above 1.2 structure was removed."}, {"name": "residual_detail", "value": 0.8587661838858919, "limit": 1.03, "verdict": "pass", "version": "1.0.0", "text": "Finest structure over the source''s: 0.86; allowed 1.03."}, {"name": "residual_structure", "value": 0.13253962243886436, "limit": 0.27, "verdict": "pass", "version": "1.0.0", "text": "Correlation of what was removed with fine structure: 0.13; allowed 0.27."}, {"name": "residual_spectrum", "value": 0.08867991017896276, "limit": 0.36, "verdict": "pass", "version": "1.0.0", "text": "Distance of the noise spectra: 0.09; allowed 0.36."}, {"name": "residual_amount", "value": 0.8797255754470825, "limit": 1.1, "verdict": "pass", "version": "1.0.0", "text": "Removed over the noise that was there: 0.88; allowed 1.1."}, {"name": "low_frequency_lock", "value": 0.2473965287208557, "limit": 1.3, "verdict": "pass", "version": "1.0.0", "text": "Largest regional shift 0.25 HU, in slice 1; allowed 1.3 HU."}, {"name": "own_slice", "value": 0.39713386701086567, "limit": 0.89, "verdict": "pass", "version": "1.0.0", "text": "Nearest to its neighbour is slice 1: 0.40 of the distance to it; allowed 0.89."}, {"name": "structure_support", "value": 4.264129161834717, "limit": 7.5, "verdict": "pass", "version": "1.0.0", "text": "Largest blob in what was removed: 4.3 SD, in slice 2; allowed 7.5."}, {"name": "probe_r3", "value": 0.6251723248762043, "limit": 0.53, "verdict": "pass", "version": "1.0.0", "text": "0.63 of the contrast of 6 disks of radius 3 px came through; at least 0.53."}, {"name": "probe_r6", "value": 0.859589797613311, "limit": 0.79, "verdict": "pass", "version": "1.0.0", "text": "0.86 of the contrast of 6 disks of radius 6 px came through; at least 0.79."}, {"name": "same_again", "value": 0.0001068115234375, "limit": 2.0, "verdict": "pass", "version": "1.0.0", "text": "Run again, the network differs from the result by 0.00 HU (95th percentile); allowed 2 HU."}], "released": []}','{"prepare": 0.0801, "infer": 0.0644, "check": 0.197, "derive": 0.008}',1.79529444485045170786e+09,'{}','all','[]',NULL,'[]','{}');
INSERT INTO "jobs" VALUES('0c28fe4272d2f49b3e673aeff0594949d72070ff8f7b5ba16f93ab06630897d0','f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8','ct','ct-denoise','1.1.0','f96508ebebadfaf05e892c7aebbf95bea60fda1787857ee3baf8c57f458fe61a','["folder", "away"]','queued','route','',1.79529444973035335548e+09,1.79529444973035335548e+09,0,0,NULL,NULL,NULL,NULL,NULL,'{}',NULL,'{}','all','[]',NULL,'[]','{}');
CREATE TABLE members (
	set_id VARCHAR(64) NOT NULL, 
	instance_id INTEGER NOT NULL, 
	CONSTRAINT pk_members PRIMARY KEY (set_id, instance_id), 
	CONSTRAINT fk_members_instance_id FOREIGN KEY(instance_id) REFERENCES instances (id), 
	CONSTRAINT fk_members_set_id FOREIGN KEY(set_id) REFERENCES sets (id)
);
INSERT INTO "members" VALUES('7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f',1);
INSERT INTO "members" VALUES('7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f',2);
INSERT INTO "members" VALUES('7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f',3);
INSERT INTO "members" VALUES('7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f',4);
INSERT INTO "members" VALUES('f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8',7);
INSERT INTO "members" VALUES('f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8',8);
INSERT INTO "members" VALUES('f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8',9);
INSERT INTO "members" VALUES('f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8',10);
CREATE TABLE notices (
	id INTEGER NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	channel VARCHAR(32) NOT NULL, 
	way VARCHAR(16) NOT NULL, 
	control_id VARCHAR(20) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	since FLOAT NOT NULL, 
	next_at FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	alarmed_at FLOAT, 
	delivered_at FLOAT, 
	trouble TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	body JSON NOT NULL, 
	CONSTRAINT pk_notices PRIMARY KEY (id), 
	CONSTRAINT fk_notices_job_id FOREIGN KEY(job_id) REFERENCES triages (job_id), 
	CONSTRAINT uq_notices_control_id UNIQUE (control_id), 
	CONSTRAINT uq_notices_job_id_kind_channel UNIQUE (job_id, kind, channel)
);
CREATE TABLE quarantine (
	id INTEGER NOT NULL, 
	sop_instance_uid VARCHAR(64) NOT NULL, 
	file VARCHAR(80) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	reason TEXT NOT NULL, 
	received_at FLOAT NOT NULL, 
	CONSTRAINT pk_quarantine PRIMARY KEY (id), 
	CONSTRAINT uq_quarantine_sop_instance_uid_sha256 UNIQUE (sop_instance_uid, sha256)
);
CREATE TABLE rejections (
	sop_instance_uid VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	code VARCHAR(16) NOT NULL, 
	instances JSON NOT NULL, 
	file VARCHAR(80) NOT NULL, 
	at FLOAT NOT NULL, 
	applied_at FLOAT, 
	CONSTRAINT pk_rejections PRIMARY KEY (sop_instance_uid)
);
CREATE TABLE results (
	sop_instance_uid VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	sop_class_uid VARCHAR(64) NOT NULL, 
	source_sop_instance_uid VARCHAR(64) NOT NULL, 
	file VARCHAR(160) NOT NULL, 
	bytes INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, form VARCHAR(16) DEFAULT 'classic' NOT NULL, 
	CONSTRAINT pk_results PRIMARY KEY (sop_instance_uid), 
	CONSTRAINT fk_results_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "results" VALUES('2.25.128611283635177568065694692264505865152','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03',1,'1.2.840.10008.5.1.4.1.1.2','2.25.49241864273969731677962899500668085047','out/14/148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03/0/00001.dcm',528012,'e877cfbb13e12253d30811832e0c27e20839d02610c5c9af17edf71bda9d608e','classic');
INSERT INTO "results" VALUES('2.25.300514754921817894782534068772819739632','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03',2,'1.2.840.10008.5.1.4.1.1.2','2.25.270952152719093624894222498721008664521','out/14/148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03/0/00002.dcm',528012,'ca611e9875ef03e3e3c84e49a7ac353149db580529a4077c31be7f44b402e791','classic');
INSERT INTO "results" VALUES('2.25.139124315643565593789582681207524178454','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03',3,'1.2.840.10008.5.1.4.1.1.2','2.25.76867119878341297072516562694055754427','out/14/148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03/0/00003.dcm',528008,'ea04a77cc02b23b83153361e9a087f40d3b44ad71ccf6bf739c612ed4eb5cfc5','classic');
INSERT INTO "results" VALUES('2.25.202645615526325611716241486785911044676','148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03',4,'1.2.840.10008.5.1.4.1.1.2','2.25.102465892880980472603908955986932757901','out/14/148d920567d5d55e76dff2bbcda03bb01f5719f54483c375b043173c1d863b03/0/00004.dcm',528008,'f2d80829c75a5ce43f38fcffd555ed38f08da01a37229887068a149daf6e6ea3','classic');
CREATE TABLE series (
	series_uid VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	instances INTEGER NOT NULL, 
	frozen INTEGER NOT NULL, 
	first_at FLOAT NOT NULL, 
	last_at FLOAT NOT NULL, 
	CONSTRAINT pk_series PRIMARY KEY (series_uid)
);
INSERT INTO "series" VALUES('2.25.194786546469145214420599202964077782205','2.25.69553053545124152893733521420617585356',4,4,1.79529444305078864094e+09,1.79529444308331203455e+09);
INSERT INTO "series" VALUES('2.25.180317523360108414903677721473887513837','2.25.93883721024806894571706456324740907533',2,0,1.79529444779864048959e+09,1.79529444780740666393e+09);
INSERT INTO "series" VALUES('2.25.165374249663405839855942022768717405915','2.25.77351978251728615712400823498114218542',4,4,1.79529444842026400562e+09,1.79529444848826503751e+09);
CREATE TABLE sets (
	id VARCHAR(64) NOT NULL, 
	series_uid VARCHAR(64) NOT NULL, 
	version INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	evidence TEXT NOT NULL, 
	reasons JSON NOT NULL, 
	run INTEGER NOT NULL, 
	started_run INTEGER NOT NULL, 
	last_received_at FLOAT NOT NULL, 
	frozen_at FLOAT NOT NULL, urgent INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_sets PRIMARY KEY (id), 
	CONSTRAINT uq_sets_series_uid_version UNIQUE (series_uid, version)
);
INSERT INTO "sets" VALUES('7cf984ef7568a8f775403fb65191c399402673848477c17f6381086e9d51fb8f','2.25.194786546469145214420599202964077782205',1,'routed','associations released, 4 slices every 2.500 mm','{"ct": []}',1,1,1.79529444308331203455e+09,1.79529444422171306607e+09,0);
INSERT INTO "sets" VALUES('f98f82ce8b88c70e85f8b30f2ae942fdb1bc96cad1458293553574639d4fc0e8','2.25.165374249663405839855942022768717405915',1,'routed','associations released, 4 slices every 2.500 mm','{"ct": []}',1,1,1.79529444848826503751e+09,1.79529444959740281098e+09,0);
CREATE TABLE subscriptions (
	ae_title VARCHAR(16) NOT NULL, 
	workitem_uid VARCHAR(64) NOT NULL, 
	locked INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	CONSTRAINT pk_subscriptions PRIMARY KEY (ae_title, workitem_uid)
);
CREATE TABLE triages (
	job_id VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	series_uid VARCHAR(64) NOT NULL, 
	scanner VARCHAR(32) NOT NULL, 
	flag VARCHAR(20) NOT NULL, 
	score FLOAT, 
	percentile FLOAT, 
	threshold FLOAT NOT NULL, 
	reasons JSON NOT NULL, 
	credit_s FLOAT NOT NULL, 
	arrived_at FLOAT NOT NULL, 
	decided_at FLOAT NOT NULL, 
	acknowledged_at FLOAT, 
	read_at FLOAT, 
	withdrawn_at FLOAT, 
	withdrawal JSON, 
	report_uid VARCHAR(64) NOT NULL, 
	assessment JSON NOT NULL, 
	CONSTRAINT pk_triages PRIMARY KEY (job_id), 
	CONSTRAINT fk_triages_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE TABLE ups_events (
	id INTEGER NOT NULL, 
	ae_title VARCHAR(16) NOT NULL, 
	workitem_uid VARCHAR(64) NOT NULL, 
	event_type INTEGER NOT NULL, 
	body JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_at FLOAT NOT NULL, 
	created_at FLOAT NOT NULL, 
	CONSTRAINT pk_ups_events PRIMARY KEY (id)
);
CREATE TABLE workitems (
	uid VARCHAR(64) NOT NULL, 
	study_uid VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64), 
	state VARCHAR(16) NOT NULL, 
	priority VARCHAR(8) NOT NULL, 
	label VARCHAR(64) NOT NULL, 
	transaction_uid VARCHAR(64), 
	claimed_by VARCHAR(16), 
	queued_at FLOAT NOT NULL, 
	credit_s FLOAT NOT NULL, 
	first INTEGER NOT NULL, 
	data_set JSON NOT NULL, 
	created_at FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	claimed_at FLOAT, 
	ended_at FLOAT, 
	CONSTRAINT pk_workitems PRIMARY KEY (uid)
);
CREATE INDEX ix_associations_closed_at ON associations (closed_at);
CREATE INDEX ix_events_subject ON events (subject);
CREATE INDEX ix_instances_association ON instances (association);
CREATE INDEX ix_instances_series_uid ON instances (series_uid);
CREATE INDEX ix_quarantine_sop_instance_uid ON quarantine (sop_instance_uid);
CREATE INDEX ix_series_study_uid ON series (study_uid);
CREATE INDEX ix_sets_series_uid ON sets (series_uid);
CREATE INDEX ix_sets_state ON sets (state);
CREATE INDEX ix_jobs_set_id ON jobs (set_id);
CREATE INDEX ix_jobs_state ON jobs (state);
CREATE INDEX ix_dispatches_state ON dispatches (state);
CREATE INDEX ix_results_job_id ON results (job_id);
CREATE INDEX ix_deliveries_job_id_destination ON deliveries (job_id, destination);
CREATE INDEX ix_job_sets_set_id ON job_sets (set_id);
CREATE INDEX ix_gatherings_state ON gatherings (state);
CREATE INDEX ix_evidence_series_uid ON evidence (series_uid);
CREATE INDEX ix_commitments_job_id_destination ON commitments (job_id, destination);
CREATE INDEX ix_commitments_state ON commitments (state);
CREATE INDEX ix_series_open ON series (first_at) WHERE instances > frozen;
CREATE INDEX ix_sets_to_start ON sets (frozen_at) WHERE run > started_run;
CREATE INDEX ix_associations_open ON associations (calling_ae) WHERE closed_at IS NULL;
CREATE INDEX ix_instances_documents ON instances (id) WHERE sop_class_uid = '1.2.840.10008.5.1.4.1.1.88.59';
CREATE INDEX ix_rejections_study_uid ON rejections (study_uid);
CREATE INDEX ix_ups_events_state ON ups_events (state);
CREATE INDEX ix_workitems_open ON workitems (queued_at) WHERE ended_at IS NULL;
CREATE INDEX ix_workitems_state ON workitems (state);
CREATE INDEX ix_workitems_study_uid ON workitems (study_uid);
CREATE INDEX ix_triages_scanner_decided_at ON triages (scanner, decided_at);
CREATE INDEX ix_triages_series_uid ON triages (series_uid);
CREATE INDEX ix_triages_study_uid ON triages (study_uid);
CREATE INDEX ix_notices_state ON notices (state);
COMMIT;
